//! PostgreSQL's types, by object id, and what each mask gives for them.
//!
//! | type | full | replace | keep_first, keep_last | hmac | null |
//! |---|---|---|---|---|---|
//! | text, varchar, bpchar, name, unknown, cstring | `****` | the text | `12****`, `****89` | `k1:` and 26 characters | NULL |
//! | "char" | `*` | one ASCII character | `*` | – | NULL |
//! | json, jsonb | `"****"` | the text as a JSON string | – | the pseudonym as a JSON string | NULL |
//! | xml | `****` | text without markup | – | the pseudonym | NULL |
//! | uuid | all zero | a UUID | – | a UUID of version 8 | NULL |
//! | bytea | empty | the text's bytes | – | 16 bytes | NULL |
//! | smallint, integer, bigint, oid, numeric, real, double | 0 | a number in range | – | – | NULL |
//! | boolean | NULL | true or false | – | – | NULL |
//! | inet, cidr, macaddr, macaddr8 | all zero | – | – | – | NULL |
//! | arrays of the above and of dates and times | `{}` | – | – | – | NULL |
//! | everything else (dates, times, money, enums, ranges …) | NULL | – | – | – | NULL |
//!
//! A dash is a pair that has no valid value. Domains count as their base type and extension types as what the caller
//! says they are (citext: text). Where no neutral value exists, full is NULL: an invented date would pass for data.
//! A masked text may be longer than the column's declared length, which limits what is stored, not what is shown;
//! trailing blanks of bpchar are padding and not part of the value. Keeping characters needs UTF-8: of a text in any
//! other encoding that is not also valid UTF-8, nothing is kept.

/// `text`.
pub const TEXT: u32 = 25;
/// `json`.
pub const JSON: u32 = 114;
/// `jsonb`.
pub const JSONB: u32 = 3802;
/// An anonymous or composite row.
pub const RECORD: u32 = 2249;

/// What a mask must know of a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    Text,
    Padded,
    Name,
    Char,
    Json,
    Jsonb,
    Xml,
    Uuid,
    Bytes,
    Int2,
    Int4,
    Int8,
    Oid,
    Numeric,
    Float4,
    Float8,
    Bool,
    Inet,
    Cidr,
    Macaddr,
    Macaddr8,
    /// An array of this element type.
    Array(u32),
    /// Only NULL is known to be valid.
    Other,
}

/// The family of the type `oid`.
pub(crate) fn family(oid: u32) -> Family {
    match oid {
        TEXT | 1043 | 705 | 2275 => Family::Text,
        1042 => Family::Padded,
        19 => Family::Name,
        18 => Family::Char,
        JSON => Family::Json,
        JSONB => Family::Jsonb,
        142 => Family::Xml,
        2950 => Family::Uuid,
        17 => Family::Bytes,
        21 => Family::Int2,
        23 => Family::Int4,
        20 => Family::Int8,
        26 => Family::Oid,
        1700 => Family::Numeric,
        700 => Family::Float4,
        701 => Family::Float8,
        16 => Family::Bool,
        869 => Family::Inet,
        650 => Family::Cidr,
        829 => Family::Macaddr,
        774 => Family::Macaddr8,
        _ => element(oid).map_or(Family::Other, Family::Array),
    }
}

/// How detectors look at values of a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// Not at all: numbers, dates, bytes and other values that are no text.
    Never,
    /// As text.
    Text,
    /// As JSON; `true` if the binary format begins with a version.
    Json(bool),
    /// At each element of this type.
    Elements(u32),
    /// At each field.
    Fields,
    /// As text in the text format; the binary format is unknown.
    Opaque,
}

/// How detectors look at values of the type `oid`.
pub(crate) fn look(oid: u32) -> Look {
    match (family(oid), oid) {
        (Family::Text | Family::Padded | Family::Name | Family::Char | Family::Xml, _) => Look::Text,
        (Family::Json, _) => Look::Json(false),
        (Family::Jsonb, _) => Look::Json(true),
        (Family::Array(element), _) if look(element) == Look::Never => Look::Never,
        (Family::Array(element), _) => Look::Elements(element),
        (_, RECORD) => Look::Fields,
        (Family::Other, oid) if !PLAIN.contains(&oid) => Look::Opaque,
        _ => Look::Never,
    }
}

/// Types without a neutral value whose values are no text: dates and times, money, bits, identifiers of the server's
/// own, geometry, ranges of these, void.
const PLAIN: [u32; 49] = [
    22, 24, 27, 28, 29, 30, 600, 601, 602, 603, 604, 628, 718, 790, 1082, 1083, 1114, 1184, 1186, 1266, 1560, 1562,
    2202, 2203, 2204, 2205, 2206, 2278, 2970, 3220, 3734, 3769, 3904, 3906, 3908, 3910, 3912, 3926, 4089, 4096, 4191,
    4451, 4532, 4533, 4534, 4535, 4536, 5038, 5069,
];

/// Array types of the system catalog with their elements.
const ARRAYS: [(u32, u32); 45] = [
    (143, 142),
    (199, 114),
    (651, 650),
    (775, 774),
    (791, 790),
    (1000, 16),
    (1001, 17),
    (1002, 18),
    (1003, 19),
    (1005, 21),
    (1006, 22),
    (1007, 23),
    (1008, 24),
    (1009, 25),
    (1010, 27),
    (1011, 28),
    (1012, 29),
    (1013, 30),
    (1014, 1042),
    (1015, 1043),
    (1016, 20),
    (1017, 600),
    (1018, 601),
    (1019, 602),
    (1021, 700),
    (1022, 701),
    (1028, 26),
    (1040, 829),
    (1041, 869),
    (1115, 1114),
    (1182, 1082),
    (1183, 1083),
    (1185, 1184),
    (1187, 1186),
    (1231, 1700),
    (1263, 2275),
    (1270, 1266),
    (1561, 1560),
    (1563, 1562),
    (2201, 1790),
    (2287, 2249),
    (2951, 2950),
    (3643, 3614),
    (3807, 3802),
    (4073, 4072),
];

/// The element type of the array type `oid`, if it is one of the system catalog's.
#[must_use]
pub fn element(oid: u32) -> Option<u32> {
    ARRAYS.iter().find(|(array, _)| *array == oid).map(|(_, element)| *element)
}
