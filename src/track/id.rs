//! The id of a change. Pure.

use crate::replication::Lsn;

/// Where changes come from: an id depends on nothing else than this, the commit and the change's place in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// `system_identifier` of `IDENTIFY_SYSTEM`: made by initdb, shared by a server and its standbys.
    pub system_identifier: u64,
    /// The timeline: after a restore to an earlier time positions are used again.
    pub timeline: u32,
}

impl Origin {
    /// A UUID of version 8 (RFC 9562, 5.8).
    ///
    /// ```text
    ///  0                                    48       64                   96        102       128
    ///  | commit LSN, upper 48 bits         |8|next 12|variant|last 4| ordinal | 26 bits of the origin |
    /// ```
    ///
    /// The commit comes first, so that ids order as the source committed, and new ones go to one end of their index. The
    /// origin comes last: it only keeps the same position of two systems apart.
    #[must_use]
    pub fn change_id(&self, commit: Lsn, ordinal: u32) -> u128 {
        const VERSION: u128 = 8 << 76;
        const VARIANT: u128 = 0b10 << 62;
        let lsn = u128::from(commit.0);
        let upper = (lsn >> 16) << 80;
        let middle = ((lsn >> 4) & 0xFFF) << 64;
        let lower = (lsn & 0xF) << 58;
        upper | VERSION | middle | VARIANT | lower | u128::from(ordinal) << 26 | u128::from(self.hash())
    }

    /// FNV-1a (its parameters for 64 bits), folded to 26 bits.
    fn hash(&self) -> u32 {
        let bytes = self
            .system_identifier
            .to_be_bytes()
            .into_iter()
            .chain(self.timeline.to_be_bytes());
        let hash = bytes.fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
        });
        let folded = hash ^ hash >> 26 ^ hash >> 52;
        u32::try_from(folded & 0x3FF_FFFF).unwrap_or_default()
    }
}

/// The form that PostgreSQL reads and writes.
#[must_use]
pub fn hyphenated(id: u128) -> [u8; 36] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [b'-'; 36];
    let places = (0..36).filter(|place| !matches!(place, 8 | 13 | 18 | 23));
    for (digit, place) in (0..32_u32).rev().zip(places) {
        text[place] = DIGITS[usize::from((id >> (digit * 4)) as u8 & 15)];
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Origin, hyphenated};
    use crate::replication::Lsn;

    const ORIGIN: Origin = Origin {
        system_identifier: 7_300_000_000_000_000_001,
        timeline: 1,
    };

    fn text(id: u128) -> String {
        String::from_utf8(hyphenated(id).to_vec()).unwrap()
    }

    #[test]
    fn an_id_is_a_uuid_of_version_8() {
        let id = text(ORIGIN.change_id(Lsn(0x0123_4567_89AB_CDEF), 0xFFFF_FFFF));
        assert!(id.starts_with("01234567-89ab-8cde-bfff-ffff"), "{id}");
    }

    #[test]
    fn ids_order_as_commits_and_then_as_changes() {
        let places = [
            (0, 0),
            (0, 1),
            (0, u32::MAX),
            (15, 0),
            (16, 0),
            (0xFFFF, 3),
            (0x1_0000, 2),
            (u64::MAX, 0),
        ];
        let ids: Vec<String> = places
            .iter()
            .map(|(lsn, ordinal)| text(ORIGIN.change_id(Lsn(*lsn), *ordinal)))
            .collect();
        assert!(
            ids.is_sorted() && ids.windows(2).all(|pair| pair[0] != pair[1]),
            "{ids:?}"
        );
    }

    #[test]
    fn the_same_place_on_another_system_or_timeline_is_another_id() {
        let other_system = Origin {
            system_identifier: ORIGIN.system_identifier + 1,
            ..ORIGIN
        };
        let other_timeline = Origin {
            timeline: 2,
            ..ORIGIN
        };
        let ids = [ORIGIN, other_system, other_timeline].map(|origin| origin.change_id(Lsn(1), 1));
        assert!(ids[0] != ids[1] && ids[0] != ids[2] && ids[1] != ids[2]);
    }
}
