//! gravenctl and its siblings.
