//! The config: a file and its places, a draft that keeps the place of every value, the validated `Config`.
