use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn closing_and_dropping_leave_no_process_and_no_folder() {
    let server = serve(|_| page("fine")).await;
    for close in [true, false] {
        let bench = Bench::new(|_| {});
        bench.get(&test_identity(), &format!("http://{server}/")).await.unwrap();
        let group = bench.pids()[0];
        assert!(!alive(group).is_empty());
        assert_eq!(bench.left_behind(), 1);
        if close {
            bench.tier.close().await;
            assert_eq!(bench.left_behind(), 0);
        } else {
            let Bench { tier, scratch, .. } = bench;
            drop(tier);
            // A drop that reaches its limit leaves the rest to the browser's thread.
            let removed = until(|| std::fs::read_dir(scratch.path()).unwrap().count() == 0);
            tokio::time::timeout(Duration::from_secs(30), removed).await.expect("no folder is left");
        }
        // A killed process is gone when it next runs, which takes a while on a busy machine.
        let gone = until(|| alive(group).is_empty());
        tokio::time::timeout(Duration::from_secs(30), gone).await.expect("no process of the browser is left");
    }
}

/// Run by the next test in a separate process, which it kills.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "waits to be killed"]
async fn holds_browsers_until_killed() {
    let server = serve(|_| String::new()).await;
    let parent = std::env::var_os(ORPHAN_SCRATCH).expect("set by the test that runs this one");
    let bench = Bench::new(|options| {
        options.scratch_parent = parent.clone().into();
        (options.pool.pages, options.pool.processes) = (Some(2), Some(2));
    });
    let (one, two) = (test_identity(), test_identity());
    let url = format!("http://{server}/");
    let stuck = futures_util::future::join(bench.get(&one, &url), bench.get(&two, &url));
    let write_pids = async {
        until(|| bench.pids().len() == 2).await;
        let pids: Vec<_> = bench.pids().iter().map(u32::to_string).collect();
        let folder = std::path::Path::new(&parent);
        std::fs::write(folder.join("new"), pids.join(" ")).unwrap();
        std::fs::rename(folder.join("new"), folder.join("pids")).unwrap();
    };
    let _ = tokio::join!(stuck, write_pids);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_owner_leaves_no_browser_and_no_folder_and_those_of_others_stay() {
    let parent = tempfile::tempdir().unwrap();
    let server = serve(|_| page("fine")).await;
    let other = Bench::new(|options| options.scratch_parent = parent.path().to_owned());
    other.get(&test_identity(), &format!("http://{server}/")).await.unwrap();
    let mut owner = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "transport::browser::tests::life::holds_browsers_until_killed"])
        .env(ORPHAN_SCRATCH, parent.path())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let pids = parent.path().join("pids");
    until(|| {
        assert!(owner.try_wait().unwrap().is_none(), "the owner exited by itself");
        pids.exists()
    })
    .await;
    let groups: Vec<u32> =
        std::fs::read_to_string(&pids).unwrap().split(' ').map(|pid| pid.parse().unwrap()).collect();
    assert!(groups.len() == 2 && groups.iter().all(|group| !alive(*group).is_empty()));
    owner.kill().unwrap();
    let killed = Instant::now();
    owner.wait().unwrap();
    until(|| groups.iter().all(|group| alive(*group).is_empty())).await;
    eprintln!("owner killed: its browsers are gone after {:?}", killed.elapsed());
    std::fs::remove_file(&pids).unwrap();
    let folders = || std::fs::read_dir(parent.path()).unwrap().count();
    until(|| folders() == 1).await;
    crate::transport::chromium::user_data_dir::remove_abandoned(parent.path());
    assert_eq!(folders(), 1);
    // The owner of the remaining folder still works.
    other.get(&test_identity(), &format!("http://{server}/")).await.unwrap();
}

const ORPHAN_SCRATCH: &str = "RUNGS_TEST_ORPHAN_SCRATCH";
