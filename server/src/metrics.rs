//! Metrics under etcd's names.
