//! CronSource.

use super::{SINK_URI, source};
use crate::definition::parts::short_period;
use crate::definition::rule::{Part, Rule};
use crate::definition::schema::{Schema, needed, optional};
use crate::definition::{Column, Definition};
use crate::document::source::cron::CATCH_UP;

/// `CronSource`.
pub(super) fn definition() -> Definition {
    let schedule = "When an event comes: five or six fields as in crontab(5), or @daily and the like.";
    let zone = "The time zone of the schedule: a name of the IANA database. The default is UTC.";
    let catch_up = "What becomes of times that were missed: none, last or all of them. The default is last.";
    let data = |says| Schema::string(says, 1_048_576);
    let fields = vec![
        needed("schedule", Schema::string(schedule, 256)),
        optional("timezone", Schema::string(zone, 64)),
        optional(
            "contentType",
            Schema::string("The media type of the data. The default is none.", 256),
        ),
        optional("data", data("The data of each event, as a text.")),
        optional("dataBase64", data("The data of each event, in Base64.")),
        optional(
            "jitter",
            short_period("The longest delay of an event after its time. The default is 0s."),
        ),
        optional("catchUp", Schema::word(catch_up, CATCH_UP.to_vec())),
        optional(
            "catchUpMaxAge",
            short_period("Times that were missed longer ago than this are not made up. The default is 24h."),
        ),
    ];
    let mut definition = source(
        "CronSource",
        "A CronSource makes an event at each time of a schedule.",
        &[
            Column {
                name: "Schedule",
                path: ".spec.schedule",
                is_wide: false,
            },
            SINK_URI,
        ],
        fields,
        Vec::new(),
    );
    definition.spec = definition.spec.rule(
        Rule::at_most_one(
            vec![Part::There("data"), Part::There("dataBase64")],
            "expected exactly one, got both: spec.data, spec.dataBase64",
        )
        .at("dataBase64"),
    );
    definition
}
