//! Frames: each record has a checksum of its own, so that all intact records of a torn, truncated or
//! damaged file can be read. Pure.
//!
//! ```text
//!  file   = header, frame, frame, …
//!  header = "aitaskst", version, CRC-32 of both
//!  frame  = MARK, length of the payload, its complement, CRC-32 of length and payload, payload
//! ```
//!
//! The lengths have two bytes, all other numbers four, the least significant first. The complement
//! distinguishes a frame whose end is missing from one whose length is damaged.

/// Version of the format. A file of another version is left as it is.
pub const VERSION: u32 = 3;

const MAGIC: &[u8; 8] = b"aitaskst";
/// Length of the header, in bytes.
pub const HEADER: usize = 16;
/// Start of each frame, by which the next one is found after damage. It is not valid UTF-8 and has no
/// byte of ASCII, so that text never contains it.
const MARK: [u8; 4] = [0xf7, 0xa1, 0xfe, 0x9d];
/// The length of a frame without its payload, in bytes.
const FRAME: usize = 12;
/// Longest payload in bytes.
pub const MAX_PAYLOAD: usize = 65_535;
/// Zeros at the end of a file that replace the end of what was written, in bytes: more than those in
/// which a record ends.
const LOST_WRITE: usize = 16;

/// The frames of a file.
#[derive(Debug, PartialEq)]
pub struct Frames<'a> {
    /// Payloads of the intact frames.
    pub payloads: Vec<&'a [u8]>,
    /// Bytes outside intact frames, without those of `torn`.
    pub damaged: usize,
    /// Bytes of an incomplete frame or header at the end, as a kill during a write leaves them, and
    /// of the zeros that a power failure leaves where the file system has kept the length of a write
    /// and lost its data.
    pub torn: usize,
}

/// Returns the header of a file.
pub fn header() -> Vec<u8> {
    let mut header = MAGIC.to_vec();
    header.extend(VERSION.to_le_bytes());
    header.extend(crc32fast::hash(&header).to_le_bytes());
    header
}

/// Returns the version in a file's header; `None` if it is damaged or missing.
pub fn version(file: &[u8]) -> Option<u32> {
    let (known, crc) = file.get(..HEADER)?.split_last_chunk()?;
    let (magic, version) = known.split_last_chunk()?;
    let is_whole = magic == MAGIC && crc32fast::hash(known) == u32::from_le_bytes(*crc);
    is_whole.then(|| u32::from_le_bytes(*version))
}

/// Appends a frame to `out`. A payload that is longer than [`MAX_PAYLOAD`] is left out: no record is as
/// long, with an ID of 4 KiB and a few words of 1 KiB each.
pub fn push(payload: &[u8], out: &mut Vec<u8>) {
    let Ok(length) = u16::try_from(payload.len()) else { return };
    out.extend(MARK);
    out.extend(length.to_le_bytes());
    out.extend((!length).to_le_bytes());
    out.extend(checksum(length, payload).to_le_bytes());
    out.extend(payload);
}

/// Reads a file.
pub fn read(file: &[u8]) -> Frames<'_> {
    let mut frames = Frames { payloads: Vec::new(), damaged: 0, torn: 0 };
    if is_torn_header(file) {
        return Frames { torn: file.len(), ..frames };
    }
    let whole = version(file).is_some();
    let mut rest = file.get(HEADER..).filter(|_| whole).unwrap_or(file);
    // After damage a mark may be part of a payload.
    let mut begins_frame = whole;
    while !rest.is_empty() {
        if let Some((payload, after)) = first(rest) {
            frames.payloads.push(payload);
            rest = after;
            begins_frame = true;
            continue;
        }
        if begins_frame && is_torn(rest) && !has_frame(rest) {
            frames.torn = rest.len();
            break;
        }
        begins_frame = false;
        let tail = rest.get(1..).unwrap_or_default();
        let next = memchr::memmem::find(tail, &MARK);
        let skipped = next.map_or(rest.len(), |at| at + 1);
        frames.damaged += skipped;
        rest = rest.get(skipped..).unwrap_or_default();
    }
    frames
}

/// Returns the payload of the frame at the start of `bytes`, and the bytes after the frame.
fn first(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, bytes) = length(bytes)?;
    let (crc, bytes) = bytes.split_first_chunk()?;
    let (payload, after) = bytes.split_at_checked(usize::from(length))?;
    let is_whole = checksum(length, payload) == u32::from_le_bytes(*crc);
    is_whole.then_some((payload, after))
}

/// Returns the payload's length in the frame header at the start of `bytes`, and the bytes after both
/// lengths.
fn length(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let (mark, bytes) = bytes.split_first_chunk()?;
    let (length, bytes) = bytes.split_first_chunk()?;
    let (complement, bytes) = bytes.split_first_chunk()?;
    let length = u16::from_le_bytes(*length);
    (*mark == MARK && u16::from_le_bytes(*complement) == !length).then_some((length, bytes))
}

/// Reports whether the bytes of a file are the beginning of a header and end, but for zeros, before it
/// does.
fn is_torn_header(file: &[u8]) -> bool {
    let (written, lost) = split_zeros(file);
    let is_shorter = |bytes: &[u8]| bytes.len() < HEADER && header().starts_with(bytes);
    is_shorter(file) || written.is_empty() || (lost >= LOST_WRITE && is_shorter(written))
}

/// Reports whether `bytes` are the beginning of a frame and end, but for zeros, before it does.
fn is_torn(bytes: &[u8]) -> bool {
    let (written, lost) = split_zeros(bytes);
    match length(bytes) {
        Some((length, _)) => {
            let end = FRAME + usize::from(length);
            bytes.len() < end || (lost >= LOST_WRITE && written.len() < end)
        }
        // Without both lengths nothing but the mark can be checked.
        None => written.len() < 8 && (MARK.starts_with(written) || written.starts_with(&MARK)),
    }
}

/// Returns `bytes` without the zeros at their end, and the number of these.
fn split_zeros(bytes: &[u8]) -> (&[u8], usize) {
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    (bytes.get(..end).unwrap_or_default(), bytes.len() - end)
}

/// Reports whether `bytes` contain an intact frame after their first byte. Then something was written
/// after the torn frame.
fn has_frame(bytes: &[u8]) -> bool {
    let mut marks = memchr::memmem::find_iter(bytes, &MARK).filter(|at| *at > 0);
    marks.any(|at| bytes.get(at..).and_then(first).is_some())
}

fn checksum(length: u16, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length.to_le_bytes());
    hasher.update(payload);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
            let payloads = payloads.iter().map(Vec::as_slice).collect();
            prop_assert_eq!(read(&file), Frames { payloads, damaged: 0, torn: 0 });
        }

        /// Wherever a file ends, all that is whole is there, and nothing counts as damaged.
        #[test]
        fn a_torn_file_loses_its_end(payloads in payloads(), at in any::<prop::sample::Index>()) {
            let mut file = file(&payloads);
            file.truncate(at.index(file.len() + 1));
            let mut whole = Vec::new();
            let mut end = if file.len() < HEADER { 0 } else { HEADER };
            for payload in &payloads {
                if end == 0 || end + FRAME + payload.len() > file.len() {
                    break;
                }
                end += FRAME + payload.len();
                whole.push(payload.as_slice());
            }
            let torn = file.len() - end;
            prop_assert_eq!(read(&file), Frames { payloads: whole, damaged: 0, torn });
        }

        /// Zeros in the place of the end of a file, or behind it, are no damage either.
        #[test]
        fn zeros_at_the_end_are_torn(
            payloads in payloads(),
            at in any::<prop::sample::Index>(),
            zeros in LOST_WRITE..5_000,
        ) {
            let mut file = file(&payloads);
            file.truncate(at.index(file.len() + 1));
            let Frames { payloads: whole, torn, .. } = read(&file);
            let (whole, torn) = (whole.iter().map(|one| one.to_vec()).collect::<Vec<_>>(), torn);
            file.resize(file.len() + zeros, 0);
            let zeroed = read(&file);
            // What was cut off may have been zeros.
            let more = zeroed.payloads.len() - whole.len();
            prop_assert_eq!(&zeroed.payloads[..whole.len()], &whole[..]);
            prop_assert!(more <= 1 && zeroed.damaged == 0);
            prop_assert!(more == 1 || zeroed.torn == torn + zeros);
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
            let Frames { payloads: read, damaged, torn } = read(&file);
            prop_assert!(damaged > 0 && torn == 0);
            prop_assert!(read.len() + 1 >= payloads.len() && read.len() <= payloads.len());
            let mut expected = payloads.iter();
            for payload in read {
                prop_assert!(expected.any(|written| written == payload), "in their order, and none made up");
            }
        }

        /// A frame after a torn one shows that the torn one was not left by a kill.
        #[test]
        fn a_frame_behind_a_torn_one_is_read(before in payloads(), torn in 1..19_usize) {
            let mut written = file(&before);
            let whole = written.len();
            push(b"payload", &mut written);
            written.truncate(whole + torn);
            push(b"behind", &mut written);
            let Frames { payloads, damaged, torn: end } = read(&written);
            prop_assert_eq!((damaged, end), (torn.min(18), 0));
            prop_assert_eq!(payloads.last().copied(), Some(&b"behind"[..]));
            prop_assert_eq!(payloads.len(), before.len() + 1);
        }

        #[test]
        fn anything_can_be_read(file in prop::collection::vec(any::<u8>(), 0..400)) {
            let Frames { payloads, damaged, torn } = read(&file);
            let used: usize = payloads.iter().map(|payload| FRAME + payload.len()).sum();
            let all = used + damaged + torn;
            prop_assert!(all == file.len() || all + HEADER == file.len());
        }
    }
}
