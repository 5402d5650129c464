//! Room for megabytes that are there for a moment. In the heap they would leave a hole that little else fits into, and the process
//! has it for good.

/// What is asked for at once above 32 MiB glibc always maps apart from the heap, and gives back when it is dropped
/// (`M_MMAP_THRESHOLD` in mallopt(3)). Pages that nobody writes take nothing.
const ROOM: usize = 48 << 20;

/// An empty list that lies apart, or in the heap where the system does not give that much.
pub fn list<T>() -> Vec<T> {
    let mut list = Vec::new();
    let _ = list.try_reserve_exact(ROOM / size_of::<T>().max(1));
    list
}
