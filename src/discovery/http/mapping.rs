//! Elements of a list by the paths of a configuration.

use std::borrow::Cow;

use super::Page;
use crate::discovery::element::{ElementError, ElementTime, ElementValue, RawProperties};
use crate::discovery::list::{RefreshError, RejectReason};
use crate::discovery::list_builder::{ElementPosition, ListBuilder};
use crate::mapping::fields::FieldValue;
use crate::mapping::list::{ListError, ListMapping, MappedElement, MappedTime};
use crate::observation::Reason;

impl From<ListError> for RefreshError {
    fn from(error: ListError) -> Self {
        let reason = match error {
            ListError::Invalid(_) => Reason::Decode,
            ListError::NoTasks(_) => Reason::Mapping,
        };
        Self::new(reason, error.to_string())
    }
}

/// Adds the elements of a page.
///
/// # Errors
/// The page is no list, or the list has too many elements.
pub fn add_page(
    mapping: &ListMapping,
    page: &Page,
    list: &mut ListBuilder<'_>,
) -> Result<(), RefreshError> {
    let (mut number, mut added) = (0, Ok(()));
    let read = mapping.read(&page.body, &mut |element| {
        number += 1;
        if added.is_ok() {
            added = add(element, ElementPosition::Element(number), page, list);
        }
    });
    added?;
    read?;
    Ok(())
}

fn add(
    element: MappedElement<'_>,
    position: ElementPosition,
    page: &Page,
    list: &mut ListBuilder<'_>,
) -> Result<(), RefreshError> {
    let Some(id) = value(element.id()) else {
        let error = ElementError::new(RejectReason::Id, "it has no ID");
        return list.reject(position, "", &error);
    };
    let raw = RawProperties {
        provider: value(element.provider()),
        labels: element.labels().filter_map(named).collect(),
        params: element.params().filter_map(named).collect(),
        enqueue_time: element.enqueue_time(page.sent).and_then(|time| match time {
            MappedTime::Unparsed(found) => value(found).map(ElementTime::Unparsed),
            MappedTime::Parsed(parsed) => Some(ElementTime::Parsed(parsed)),
        }),
        ttl: None,
    };
    let properties = list.properties(&raw);
    list.add(position, &id, &properties)
}

/// Returns the value of a field; `None` if there is none.
fn value(found: FieldValue<'_>) -> Option<ElementValue<'_>> {
    Some(match found {
        FieldValue::Missing | FieldValue::Null => return None,
        FieldValue::Text(text) => ElementValue::Text(text),
        FieldValue::Boolean(_) => ElementValue::Other("true or false"),
        FieldValue::Other(kind) => ElementValue::Other(kind),
    })
}

/// Returns a named value; `None` if there is none.
fn named<'e>((name, found): (&'e str, FieldValue<'e>)) -> Option<(Cow<'e, str>, ElementValue<'e>)> {
    Some((name.into(), value(found)?))
}
