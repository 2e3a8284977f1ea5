//! Samples <-> codes.
