//! Promise: `access check` says with its place what a limit cannot be.

use anyhow::ensure;
use millrace_tests::access::Access;
use millrace_tests::process;

#[tokio::test]
async fn what_a_limit_cannot_be_is_said_with_its_place() -> anyhow::Result<()> {
    let mut access = Access::new()?;
    access.token("till", &["--broker", "*"]).await?;
    let file = access.file().to_string_lossy().into_owned();
    for (limits, wrong) in [
        ("{}", ""),
        ("{default: {eventsPerSecond: 1000000, bytesPerSecond: 1Ti}}", ""),
        (
            "{default: {eventsPerSecond: 0}}",
            "limits.default.eventsPerSecond: 0 would let nothing",
        ),
        (
            "{default: {eventsPerSecond: 1000001}}",
            "limits.default.eventsPerSecond",
        ),
        (
            "{default: {eventsPerSecond: 1, eventsAtOnce: 3601}}",
            "limits.default.eventsAtOnce",
        ),
        (
            "{default: {bytesPerSecond: 18446744073709551615}}",
            "limits.default.bytesPerSecond",
        ),
        ("{default: {bytesPerSecond: -1}}", "a number of bytes is expected"),
        ("{default: {perSecond: 1}}", "perSecond"),
        ("{default: {requestsInHand: 20}}", ""),
        ("{default: {requestsInHand: 0}}", "limits.default.requestsInHand"),
        (
            "{brokers: [{broker: shop, eventsPerSecond: 1}]}",
            "limits.brokers[0].broker",
        ),
    ] {
        access.write(&format!("limits: {limits}\n"))?;
        let output = process::run(access.folder(), &["access", "check", &file], "").await?;
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        let (status, said) = if wrong.is_empty() {
            (0, "is valid")
        } else {
            (3, wrong)
        };
        assert_eq!(output.status.code(), Some(status), "{limits}: {told}");
        ensure!(told.contains(said), "{limits}: {told}");
    }
    Ok(())
}
