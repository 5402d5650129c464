//! The pure core: the nouns, what is wanted, how to get there. No I/O and no clock.

pub mod model;
