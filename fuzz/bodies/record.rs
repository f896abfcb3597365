//! Any bytes read as each stored record: an answer, whatever they are.

use portcullis::testing::decode_as_every_record;

pub(crate) fn run(data: &[u8]) {
    let plain = decode_as_every_record(data);
    // With the byte in front that every record of today starts with, so that decoders are reached.
    let framed = decode_as_every_record(&[&[1], data].concat());
    assert!(plain <= 13 && framed <= 13);
    assert_eq!(decode_as_every_record(&[&[2], data].concat()), 0, "a format of the future");
    assert_eq!(decode_as_every_record(&[&[1], data, &[0; 4096]].concat()), 0, "larger than any record");
}
