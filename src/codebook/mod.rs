//! Codebooks.
