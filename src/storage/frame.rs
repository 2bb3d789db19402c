//! How records lie in a file: each in a frame of its own, so that a torn, truncated or damaged
//! file gives back all that is intact. Pure.
//!
//! ```text
//!  file   = header, frame, frame, …
//!  header = "aitaskst", version, CRC-32 of both
//!  frame  = MARK, length of the payload, CRC-32 of length and payload, payload
//! ```
//!
//! Numbers have four bytes, the least significant first.

/// The format that is written. A file of a newer one is left alone.
pub const VERSION: u32 = 1;

const MAGIC: &[u8; 8] = b"aitaskst";
/// Length of the header, in bytes.
pub const HEADER: usize = 16;
/// Where to look for the next frame behind a damaged one. Text rarely has it: no byte of it is
/// ASCII, and it is no UTF-8.
const MARK: [u8; 4] = [0xf7, 0xa1, 0xfe, 0x9d];
/// Longer than any record: an ID of 4 KiB and its words, of 1 KiB each.
const MAX_PAYLOAD: usize = 64 * 1024;

/// The header of a file.
pub fn header() -> Vec<u8> {
    let mut header = MAGIC.to_vec();
    header.extend(VERSION.to_le_bytes());
    header.extend(crc32fast::hash(&header).to_le_bytes());
    header
}

/// The version that a header tells; `None` where it is damaged or missing.
pub fn version(file: &[u8]) -> Option<u32> {
    let (known, crc) = file.get(..HEADER)?.split_last_chunk()?;
    let (magic, version) = known.split_last_chunk()?;
    let is_whole = magic == MAGIC && crc32fast::hash(known) == u32::from_le_bytes(*crc);
    is_whole.then(|| u32::from_le_bytes(*version))
}

/// Adds a frame to `out`.
pub fn push(payload: &[u8], out: &mut Vec<u8>) {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    out.extend(MARK);
    out.extend(length.to_le_bytes());
    out.extend(checksum(length, payload).to_le_bytes());
    out.extend(payload);
}

/// The payloads of a file, and how many bytes of it are none of them.
pub fn read(file: &[u8]) -> (Vec<&[u8]>, usize) {
    let (mut payloads, mut lost) = (Vec::new(), 0);
    let whole = version(file).is_some();
    let mut rest = file.get(HEADER..).filter(|_| whole).unwrap_or(file);
    while !rest.is_empty() {
        if let Some((payload, after)) = first(rest) {
            payloads.push(payload);
            rest = after;
            continue;
        }
        let tail = rest.get(1..).unwrap_or_default();
        let next = tail.windows(MARK.len()).position(|bytes| bytes == MARK);
        let skipped = next.map_or(rest.len(), |at| at + 1);
        lost += skipped;
        rest = rest.get(skipped..).unwrap_or_default();
    }
    (payloads, lost)
}

/// The payload of the frame at the beginning of `bytes`, and what is behind it.
fn first(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (mark, bytes) = bytes.split_first_chunk()?;
    let (length, bytes) = bytes.split_first_chunk()?;
    let (crc, bytes) = bytes.split_first_chunk()?;
    let length = u32::from_le_bytes(*length);
    let (payload, after) = bytes.split_at_checked(usize::try_from(length).ok()?)?;
    let is_whole = *mark == MARK
        && payload.len() <= MAX_PAYLOAD
        && checksum(length, payload) == u32::from_le_bytes(*crc);
    is_whole.then_some((payload, after))
}

fn checksum(length: u32, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length.to_le_bytes());
    hasher.update(payload);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a frame has besides its payload.
    const FRAME: usize = 12;

    fn file(payloads: &[Vec<u8>]) -> Vec<u8> {
        let mut file = header();
        for payload in payloads {
            push(payload, &mut file);
        }
        file
    }

    fn payloads() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let mark = Just(MARK.to_vec());
        let payload = prop_oneof![mark, prop::collection::vec(any::<u8>(), 0..40)];
        prop::collection::vec(payload, 0..12)
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(payloads in payloads()) {
            let file = file(&payloads);
            prop_assert_eq!(file.len(), HEADER + FRAME * payloads.len() + payloads.concat().len());
            prop_assert_eq!(version(&file), Some(VERSION));
            let (read, lost) = read(&file);
            prop_assert_eq!((read, lost), (payloads.iter().map(Vec::as_slice).collect(), 0));
        }

        /// Wherever a file ends, all that is whole is there.
        #[test]
        fn a_torn_file_loses_its_end(payloads in payloads(), at in any::<prop::sample::Index>()) {
            let mut file = file(&payloads);
            file.truncate(at.index(file.len() + 1));
            let mut whole = Vec::new();
            let mut end = HEADER;
            for payload in &payloads {
                end += FRAME + payload.len();
                if end <= file.len() {
                    whole.push(payload.as_slice());
                }
            }
            prop_assert_eq!(read(&file).0, whole);
        }

        /// One damaged byte costs at most the frame that it is in.
        #[test]
        fn a_damaged_byte_costs_one_frame(
            payloads in payloads(),
            at in any::<prop::sample::Index>(),
            bits in 1..=255_u8,
        ) {
            let mut file = file(&payloads);
            let at = at.index(file.len());
            file[at] ^= bits;
            let (read, lost) = read(&file);
            prop_assert!(lost > 0);
            prop_assert!(read.len() + 1 >= payloads.len() && read.len() <= payloads.len());
            let mut expected = payloads.iter();
            for payload in read {
                prop_assert!(expected.any(|written| written == payload), "in their order, and none made up");
            }
        }

        #[test]
        fn anything_can_be_read(file in prop::collection::vec(any::<u8>(), 0..400)) {
            let (payloads, lost) = read(&file);
            let used: usize = payloads.iter().map(|payload| FRAME + payload.len()).sum();
            prop_assert!(used + lost == file.len() || used + lost + HEADER == file.len());
        }
    }
}
