//! EBCDIC, which the XML specification (appendix F) asks a reader to recognise. Its code pages agree on the characters that
//! markup is made of; national letters are read as in page 037.

/// The XML declaration's first four characters.
pub const MARK: &[u8] = b"\x4c\x6f\xa7\x94";

/// Page 037, 32 characters a row. Control characters are left out of the text later.
const PAGE_037: [&str; 8] = [
    "\u{0}\u{1}\u{2}\u{3}\u{9c}\u{9}\u{86}\u{7f}\u{97}\u{8d}\u{8e}\u{b}\u{c}\u{d}\u{e}\u{f}\u{10}\u{11}\u{12}\u{13}\u{9d}\u{85}\u{8}\u{87}\u{18}\u{19}\u{92}\u{8f}\u{1c}\u{1d}\u{1e}\u{1f}",
    "\u{80}\u{81}\u{82}\u{83}\u{84}\u{a}\u{17}\u{1b}\u{88}\u{89}\u{8a}\u{8b}\u{8c}\u{5}\u{6}\u{7}\u{90}\u{91}\u{16}\u{93}\u{94}\u{95}\u{96}\u{4}\u{98}\u{99}\u{9a}\u{9b}\u{14}\u{15}\u{9e}\u{1a}",
    " \u{a0}âäàáãåçñ¢.<(+|&éêëèíîïìß!$*);¬",
    "-/ÂÄÀÁÃÅÇÑ¦,%_>?øÉÊËÈÍÎÏÌ`:#@'=\"",
    "Øabcdefghi«»ðýþ±°jklmnopqrªºæ¸Æ¤",
    "µ~stuvwxyz¡¿ÐÝÞ®^£¥·©§¶¼½¾[]¯¨´×",
    "{ABCDEFGHI\u{ad}ôöòóõ}JKLMNOPQR¹ûüùúÿ",
    "\\÷STUVWXYZ²ÔÖÒÓÕ0123456789³ÛÜÙÚ\u{9f}",
];

/// Reads EBCDIC text.
pub fn decode(body: &[u8]) -> String {
    let page: Vec<char> = PAGE_037.iter().flat_map(|row| row.chars()).collect();
    body.iter().filter_map(|&byte| page.get(usize::from(byte))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_mark() {
        assert_eq!(decode(MARK), "<?xm");
        assert_eq!(PAGE_037.iter().map(|row| row.chars().count()).sum::<usize>(), 256);
    }
}
