//! What a credential may do that no rule could hold back.

use bytes::{Bytes, BytesMut};
use model::{Fault, FaultKind, Whose};

use super::packet::{self, Fields, Message};
use super::reply;
use crate::greeting::Vet;

/// Roles the credential is, or can become, that step round every rule. Dangerous names first, and only a few.
const QUESTION: &str = "\
SELECT CASE WHEN rolsuper THEN 'superuser ' WHEN rolbypassrls THEN 'BYPASSRLS ' ELSE 'member of ' END || rolname \
FROM pg_catalog.pg_roles \
WHERE pg_catalog.pg_has_role(session_user, oid, 'MEMBER') AND (rolsuper OR rolbypassrls OR rolname \
IN ('pg_read_server_files', 'pg_write_server_files', 'pg_execute_server_program')) \
ORDER BY rolname <> session_user, rolsuper DESC, rolname LIMIT 5";
/// The longest message of the answer, in bytes.
const MESSAGE_BYTES: usize = 65_536;

/// Asks the question and collects the answer.
#[derive(Default)]
pub(super) struct Question {
    asked: bool,
    powers: Vec<String>,
    fault: Option<Fault>,
}

impl Question {
    fn heard(&mut self, message: Message) -> Result<bool, Fault> {
        match message.tag {
            b'D' => self.powers.push(power(message.body)?),
            b'E' => {
                let (code, text) = reply::error_fields(message.body);
                let text = format!("the target did not say what the credential may do: {text} ({code})");
                self.fault = Some(Fault::new(Whose::Target, FaultKind::Unreachable, text));
            }
            b'Z' => return Ok(true),
            _ => {}
        }
        Ok(false)
    }
}

/// The one column of a row.
fn power(body: Bytes) -> Result<String, Fault> {
    let mut fields = Fields::new(body, Whose::Target, "a row");
    let columns = [fields.u8()?, fields.u8()?];
    let length = fields.u32()?;
    let text = fields.rest();
    if columns != [0, 1] || usize::try_from(length) != Ok(text.len()) {
        return Err(fields.short());
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

impl Vet for Question {
    fn advance(&mut self, input: &mut BytesMut, output: &mut BytesMut) -> Result<Option<Vec<String>>, Fault> {
        if !self.asked {
            self.asked = true;
            packet::put(output, b'Q', |body| packet::put_cstr(body, QUESTION.as_bytes()));
        }
        while let Some(message) = packet::message(input, MESSAGE_BYTES, Whose::Target)? {
            if self.powers.len() > 5 {
                return Err(Fault::protocol(Whose::Target, "the target sent more rows than were asked for"));
            }
            if self.heard(message)? {
                return self.fault.take().map_or_else(|| Ok(Some(std::mem::take(&mut self.powers))), Err);
            }
        }
        Ok(None)
    }
}
