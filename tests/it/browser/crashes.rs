//! The browser tier while renderers and browsers are killed during the run.

#[path = "../../../benches/browser/run.rs"]
mod run;

use run::{Plan, run};

#[tokio::test(flavor = "multi_thread")]
async fn killed_renderers_and_browsers_lose_no_page_and_leave_nothing_behind() {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    // Far enough apart that no kill hits the second and last attempt for a page.
    let plan = Plan { pages: 40, at_once: 2, renderer_every: Some(20), browser_at: &[10, 30] };
    let report = run(plan, folder.path(), |_| {}).await;
    assert_eq!(report.lost, Vec::<String>::new());
    assert_eq!((report.genuine, report.browsers_killed), (40, 2), "{report:?}");
    assert!(report.renderers_killed >= 1, "{report:?}");
    assert_eq!((report.processes_left, report.folders_left), (0, 0));
}
