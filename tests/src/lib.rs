//! Whole-process tests, the twin run and the client tour.
