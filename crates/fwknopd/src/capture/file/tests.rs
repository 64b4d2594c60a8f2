//! Capture files made by hand.

use std::fs;

use super::*;
use crate::arrival::samples::*;

/// A capture file of this link type with these frames.
fn file(link: u32, frames: &[Vec<u8>]) -> tempfile::NamedTempFile {
    let header = [0xa1b2_c3d4, 0x0004_0002, 0, 0, 65535, link];
    let mut bytes: Vec<u8> = header.iter().flat_map(|word: &u32| word.to_le_bytes()).collect();
    for frame in frames {
        let length = u32::try_from(frame.len()).unwrap();
        bytes.extend([1_795_336_791, 0, length, length].iter().flat_map(|word: &u32| word.to_le_bytes()));
        bytes.extend(frame);
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, bytes).unwrap();
    file
}

fn ethernet(kind: &[u8], packet: &[u8]) -> Vec<u8> {
    [&[7; 12], kind, packet].concat()
}

#[test]
fn reads_to_the_end_and_says_that_it_is_the_end() {
    let knock = ipv4(6, 0, 17, &udp(TEXT));
    let frames = [
        ethernet(&[8, 0], &knock),
        ethernet(&[8, 6], &knock),
        ethernet(&[0x81, 0, 0, 5, 8, 0], &knock),
        ethernet(&[8, 0], &ipv4(5, 0, 6, &udp(TEXT))),
        ethernet(&[8, 0], &ipv4(5, 0x2000, 17, &udp(TEXT))),
        ethernet(&[0x86, 0xdd], &ipv6(17, &udp(TEXT))),
    ];
    let file = file(1, &frames);
    let mut capture = FileCapture::open(file.path(), "udp port 62201").unwrap();
    for _ in 0..3 {
        assert_eq!(capture.next().unwrap().unwrap().payload, TEXT);
        assert!(!capture.ended());
    }
    assert!(capture.next().unwrap().is_none());
    assert!(capture.ended() && capture.as_fd().is_none());
    assert!(capture.next().unwrap().is_none());
    assert_eq!(capture.heard(), 4, "three that can be read, and the fragment");
}

#[test]
fn reads_links_without_a_header() {
    let file = file(101, &[ipv4(5, 0, 17, &udp(TEXT)), ipv6(17, &udp(TEXT))]);
    let mut capture = FileCapture::open(file.path(), "").unwrap();
    assert!(capture.next().unwrap().is_some_and(|arrival| arrival.source.is_ipv4()));
    assert!(capture.next().unwrap().is_some_and(|arrival| arrival.source.is_ipv6()));
    assert!(capture.next().unwrap().is_none());
}

#[test]
fn says_what_is_wrong_with_a_file() {
    let message = |path: &Path, filter: &str| FileCapture::open(path, filter).err().unwrap().to_string();
    let missing = message(Path::new("/nowhere/day.pcap"), "");
    assert!(missing.starts_with("[*] pcap_open_offline() error: /nowhere/day.pcap: No such file"), "{missing}");
    let wireless = message(file(105, &[]).path(), "");
    assert!(wireless.ends_with("has link type 105, which fwknopd cannot read"), "{wireless}");
    let filter = message(file(1, &[]).path(), "udp prot");
    assert!(filter.starts_with("[*] Error compiling pcap filter: "), "{filter}");
}

#[test]
fn a_file_that_ends_in_the_middle_is_an_error_and_then_the_end() {
    let file = file(101, &[ipv4(5, 0, 17, &udp(TEXT))]);
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() - 3]).unwrap();
    let mut capture = FileCapture::open(file.path(), "").unwrap();
    assert!(capture.next().is_err());
    assert!(capture.ended() && capture.next().unwrap().is_none());
}
