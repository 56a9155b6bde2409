//! temporary
#![allow(dead_code, reason = "temporary")]
mod overtime;
