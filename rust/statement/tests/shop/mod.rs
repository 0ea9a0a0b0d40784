//! A small catalog: `customers` (100) and `employees` (300) have protected columns, `orders` (200) and `notes` (400)
//! have none, `secret_view` (500) is protected without saying where.

use statement::{Column, Names, Relation};

pub struct Shop;

type Known = (&'static str, u32, &'static [(&'static str, bool)], bool);

const RELATIONS: &[Known] = &[
    ("customers", 100, &[("id", false), ("name", false), ("ssn", true), ("email", true), ("city", false)], true),
    ("orders", 200, &[("id", false), ("customer_id", false), ("total", false), ("note", false)], false),
    ("employees", 300, &[("id", false), ("ssn", true), ("manager_id", false), ("name", false)], true),
    ("notes", 400, &[("id", false), ("body", false)], false),
    ("secret_view", 500, &[("a", false), ("b", false)], true),
];

impl Names for Shop {
    fn relation(&self, schema: Option<&str>, name: &str) -> Option<Relation<'_>> {
        if schema.is_some_and(|schema| schema != "public") {
            return None;
        }
        let (_, id, columns, protected) = RELATIONS.iter().find(|(known, ..)| *known == name)?;
        let columns =
            (1..).zip(*columns).map(|(number, (name, protected))| Column { name, number, protected: *protected });
        Some(Relation { id: *id, columns: columns.collect(), protected: *protected })
    }
}
