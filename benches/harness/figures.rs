//! IDs for benchmarks, and the median of their figures.

/// Returns a line with an ID that is as hard to compress as a real one.
pub fn id(number: usize) -> String {
    let hash =
        |part: u8| aitask_exporter::task::stable_hash([number.to_le_bytes().as_slice(), &[part]]);
    let (high, low) = (hash(0), hash(1));
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}\n",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xffff,
        low >> 48,
        low & 0xffff_ffff_ffff
    )
}

/// Returns the median.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap()
}
