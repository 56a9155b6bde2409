//! Load generation and measurements.
