//! Messages that are wrong in themselves.

use super::message::{self, frame, frame_of_length};
use super::session::Act;
use super::statements::Author;

impl Author {
    /// A message whose body is not what its type says; its length is right.
    pub fn malformed(&mut self, acts: &mut Vec<Act>) {
        self.label("broken: body");
        let bodies: &[(u8, &[u8])] = &[
            (b'Q', b""),
            (b'Q', b"SELECT 1"),
            (b'Q', b"SELECT 1\0;\0"),
            (b'Q', b"INSERT INTO t (id) VALUES (90)"),
            (b'Q', b"INSERT INTO t (id) VALUES (90)\0\0"),
            (b'P', b""),
            (b'P', b"s0\0INSERT INTO t (id) VALUES (91)"),
            (b'P', b"s0\0INSERT INTO t (id) VALUES (91)\0\0\x01"),
            (b'P', b"\0SELECT 1\0\0\0more"),
            (b'B', b""),
            (b'B', b"\0\0\0\0\0\x01\0\0\0\x09x"),
            (b'B', b"\0\0\0\0\0\x01\xff\xff\xff\xfe"),
            (b'B', b"p\0\0\0\0\0\0\0\0more"),
            (b'E', b""),
            (b'E', b"\0\0\0"),
            (b'E', b"\0\0\0\0\0more"),
            (b'D', b"X\0"),
            (b'D', b"S"),
            (b'C', b"X\0"),
            (b'C', b"Pp"),
            (b'H', b"more"),
            (b'S', b"more"),
            (b'F', b""),
            (b'F', b"\0\0\0\xb1\0\x01\0\x01\0\x02"),
        ];
        let (tag, body) = self.dice.pick(bodies);
        acts.push(self.say(frame(tag, body)));
    }

    /// A message after which the server ends the session.
    pub fn fatal(&mut self, acts: &mut Vec<Act>) {
        let act = match self.dice.below(6) {
            0 => {
                self.label("broken: type that is none");
                let tag = self.dice.pick(&[b'z', b'R', 0, 0xff, b'Z']);
                self.say(frame(tag, b"what"))
            }
            1 => {
                self.label("broken: password in a session");
                self.say(frame(b'p', b"secret\0"))
            }
            2 => {
                self.label("broken: length that cannot be");
                let tag = self.dice.pick(b"QPBEDCSHFdcfX");
                let length = self.dice.pick(&[0, 3, -1, i32::MAX, 0x4000_0000]);
                self.say(frame_of_length(tag, length, b"\0\0\0"))
            }
            3 => {
                self.label("broken: too long for its type");
                let tag = self.dice.pick(b"SHcX");
                self.say(frame(tag, &[0; 10_001]))
            }
            4 => {
                self.label("broken: startup packet in a session");
                self.say([&[0, 0, 0, 8][..], &80_877_103_i32.to_be_bytes()].concat())
            }
            _ => {
                self.label("broken: Terminate with more behind it");
                acts.push(self.say(frame(b'X', b"")));
                self.say(message::query(b"INSERT INTO t (id) VALUES (92)"))
            }
        };
        acts.push(act);
    }
}
