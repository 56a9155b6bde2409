//! Generated types of etcd's v3 API and of Graven's internal messages.
