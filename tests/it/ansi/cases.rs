//! The decisions on what the standard leaves open, one test each.
