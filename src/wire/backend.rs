//! Messages of the server: views of those bemi looks into.

use super::Malformed;
use super::reader::Reader;

/// Message types a server sends (`protocol.h`, "Message Formats").
pub mod tag {
    pub const AUTHENTICATION: u8 = b'R';
    pub const BACKEND_KEY_DATA: u8 = b'K';
    pub const BIND_COMPLETE: u8 = b'2';
    pub const CLOSE_COMPLETE: u8 = b'3';
    pub const COMMAND_COMPLETE: u8 = b'C';
    pub const COPY_BOTH_RESPONSE: u8 = b'W';
    pub const COPY_DATA: u8 = b'd';
    pub const COPY_DONE: u8 = b'c';
    pub const COPY_IN_RESPONSE: u8 = b'G';
    pub const COPY_OUT_RESPONSE: u8 = b'H';
    pub const DATA_ROW: u8 = b'D';
    pub const EMPTY_QUERY_RESPONSE: u8 = b'I';
    pub const ERROR_RESPONSE: u8 = b'E';
    pub const FUNCTION_CALL_RESPONSE: u8 = b'V';
    pub const NEGOTIATE_PROTOCOL_VERSION: u8 = b'v';
    pub const NO_DATA: u8 = b'n';
    pub const NOTICE_RESPONSE: u8 = b'N';
    pub const NOTIFICATION_RESPONSE: u8 = b'A';
    pub const PARAMETER_DESCRIPTION: u8 = b't';
    pub const PARAMETER_STATUS: u8 = b'S';
    pub const PARSE_COMPLETE: u8 = b'1';
    pub const PORTAL_SUSPENDED: u8 = b's';
    pub const READY_FOR_QUERY: u8 = b'Z';
    pub const ROW_DESCRIPTION: u8 = b'T';
}

/// The transaction status that ReadyForQuery reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TransactionStatus {
    /// `I`: not in a transaction block.
    #[default]
    Idle,
    /// `T`: in a transaction block.
    InBlock,
    /// `E`: in a failed transaction block; everything but its end is refused.
    Failed,
}

/// # Errors
/// [`Malformed`] when the status is none of `I`, `T` and `E`.
pub fn ready_for_query(body: &[u8]) -> Result<TransactionStatus, Malformed> {
    match body {
        b"I" => Ok(TransactionStatus::Idle),
        b"T" => Ok(TransactionStatus::InBlock),
        b"E" => Ok(TransactionStatus::Failed),
        _ => Err(Malformed {
            message: "ReadyForQuery",
            what: "an unknown transaction status",
        }),
    }
}

/// Name and value of a ParameterStatus.
///
/// # Errors
/// [`Malformed`] when a terminator is missing.
pub fn parameter_status(body: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let mut reader = Reader::new("ParameterStatus", body);
    Ok((reader.string()?, reader.string()?))
}

/// The command tag of a CommandComplete.
///
/// # Errors
/// [`Malformed`] when the terminator is missing.
pub fn command_complete(body: &[u8]) -> Result<&[u8], Malformed> {
    Reader::new("CommandComplete", body).string()
}

/// The columns of a DataRow; `None` where one is NULL.
///
/// # Errors
/// [`Malformed`] when they do not fit the message.
pub fn data_row(body: &[u8]) -> Result<Vec<Option<&[u8]>>, Malformed> {
    let mut reader = Reader::new("DataRow", body);
    let count = reader.u16()?;
    (0..count).map(|_| reader.value()).collect()
}

/// The first column of a DataRow; `None` when it is NULL or there is no column.
///
/// # Errors
/// [`Malformed`] when the length does not fit the message.
pub fn first_column(body: &[u8]) -> Result<Option<&[u8]>, Malformed> {
    let mut reader = Reader::new("DataRow", body);
    if reader.u16()? == 0 {
        Ok(None)
    } else {
        reader.value()
    }
}

/// The name of the only column of a RowDescription; `None` when it has none or several.
///
/// # Errors
/// [`Malformed`] when the terminator is missing.
pub fn only_column_name(body: &[u8]) -> Result<Option<&[u8]>, Malformed> {
    let mut reader = Reader::new("RowDescription", body);
    if reader.u16()? == 1 {
        reader.string().map(Some)
    } else {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_column_may_be_null_or_missing() {
        assert_eq!(
            first_column(&[0, 1, 0, 0, 0, 2, b'h', b'i']),
            Ok(Some(&b"hi"[..]))
        );
        assert_eq!(first_column(&[0, 1, 255, 255, 255, 255]), Ok(None));
        assert_eq!(first_column(&[0, 0]), Ok(None));
        assert!(first_column(&[0, 1, 0, 0, 0, 3, b'h', b'i']).is_err());
    }

    #[test]
    fn only_a_single_column_has_a_name_to_compare() {
        assert_eq!(only_column_name(b"\0\x01_bemi\0rest"), Ok(Some(&b"_bemi"[..])));
        assert_eq!(only_column_name(b"\0\x02_bemi\0rest"), Ok(None));
        assert!(only_column_name(b"\0\x01_bemi").is_err());
    }

    #[test]
    fn an_unknown_transaction_status_is_malformed() {
        assert_eq!(ready_for_query(b"T"), Ok(TransactionStatus::InBlock));
        assert!(ready_for_query(b"X").is_err());
        assert!(ready_for_query(b"").is_err());
    }
}
