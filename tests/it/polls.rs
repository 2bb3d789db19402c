//! `poll` in a configuration with several providers, some of which may have errors.

use aitask_simulator::Options;

use crate::harness::{Dir, Gateway, run};

/// Returns the exit code, the results and the errors of `poll` with these arguments.
fn poll(dir: &Dir, args: &[&str]) -> (i32, String, String) {
    let file = format!("--config.file={}", dir.path("aitask.yml").display());
    let output = run(["poll", &*file].iter().chain(args));
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_listed_task_finds_its_provider() {
    let [first, second] = [(); 2].map(|()| Gateway::start());
    let dir = Dir::with(&format!(
        "providers:\n- {}\n- {}\n\
         - name: kinds\n  base_url: 'http://{}'\n\
         \x20 request: {{ path: '/api/mj/task/{{kind}}-1/fetch' , query: {{ id: '{{task_id}}' }} }}\n\
         \x20 response: {{ task: /data, status: /status, states: {{ running: [running] }} }}\n\
         tasks:\n- {{ id: done-1, provider: b }}\n- {{ id: both, provider: a }}\n\
         - {{ id: both, provider: b }}\n- {{ id: x, provider: kinds, params: {{ kind: running }} }}\n\
         task_files: [{{ files: 'lists/*.txt', provider: a }}]\n",
        first.provider("a", ""),
        second.provider("b", ""),
        second.address
    ));
    dir.write("lists/more.txt", "running-1\n");
    // Both lists in one command, each ID at its own provider.
    let (code, out, err) = poll(&dir, &["done-1", "running-1"]);
    assert_eq!((code, &*err), (0, ""), "{out}");
    assert_eq!((first.requests("running-1"), first.requests("done-1")), (1, 0));
    assert_eq!((second.requests("running-1"), second.requests("done-1")), (0, 1));
    // The params of the listed task are used.
    let (code, out, err) = poll(&dir, &["x"]);
    assert_eq!((code, &*err), (0, ""), "{out}");
    assert!(out.contains("/api/mj/task/running-1/fetch?id=x"), "{out}");

    for (args, says) in [
        (
            &["other"][..],
            "the configuration does not list the task \"other\": choose its provider with \
             --provider; the providers are a, b, kinds\n",
        ),
        (
            &["both"],
            "the configuration lists the task \"both\" at several providers: choose one with \
             --provider; they are a, b\n",
        ),
        (
            &["done-1", "--provider=c"],
            "no provider \"c\" is configured: the providers are a, b, kinds\n",
        ),
        (&["done-1", "other"], "\"other\""),
    ] {
        let (code, out, err) = poll(&dir, args);
        assert_eq!((code, &*out), (2, ""), "{args:?}");
        assert!(err.contains(says), "{args:?}: {err}");
    }
    assert_eq!(second.requests("done-1"), 1);
    assert_eq!(poll(&dir, &["both", "--provider=a"]).2, "");
    assert_eq!((first.requests("both"), second.requests("both")), (1, 0));
    assert_eq!(poll(&dir, &["other", "--provider=b"]).2, "");
    assert_eq!((first.requests("other"), second.requests("other")), (0, 1));
}

/// A gateway that accepts the token `right`, and a configuration whose second provider, written as
/// `broken`, has errors.
fn beside(gateway: &Gateway, broken: &str) -> Dir {
    let good = gateway.provider("good", "authorization: { credentials_file: good-token }");
    let dir = Dir::with(&format!(
        "providers:\n- {good}\n- {broken}\n\
         tasks:\n- {{ id: done-1, provider: good, labels: {{ customer: acme }} }}\n\
         - {{ id: theirs, provider: bad }}\n"
    ));
    dir.write("good-token", "right\n");
    dir
}

#[test]
fn errors_of_other_providers_do_not_matter() {
    let gateway = Gateway::with(Options { token: Some("right".to_owned()) });
    for (broken, says) in [
        (
            "{ name: bad, preset: luma, authorization: { credentials_file: gone } }",
            "the secret file cannot be used: No such file or directory",
        ),
        ("{ name: bad, preset: nothing }", "unknown preset"),
        ("{ name: bad, preset: luma, tls_config: { ca_file: gone } }", "gone"),
        ("{ name: bad, preset: luma, proxy_url: 'ftp://a' }", "aitask.yml:3:"),
        ("{ name: bad, preset: luma, poll_intervall: 5s }", "poll_intervall"),
        ("{ name: bad, preset: luma, poll_interval: 5 parsecs }", "aitask.yml:3:"),
        ("{ preset: luma }", "missing key: name"),
        ("nonsense", "aitask.yml:3:"),
    ] {
        let dir = beside(&gateway, broken);
        for args in [&["done-1"][..], &["done-1", "--provider=good"], &["new", "--provider=good"]] {
            let (code, out, err) = poll(&dir, args);
            // The simulator knows every ID.
            assert_eq!(code, 0, "{broken}: {args:?}: {out}{err}");
            assert!(out.contains("HTTP status 200") && !out.contains("right"), "{out}");
            assert!(err.contains(says), "{broken}: {err}");
            assert!(err.ends_with("\nThe providers with errors are left out.\n"), "{err}");
        }
        // Where the provider is not known, it may be the one that has errors.
        for args in [&["new"][..], &["theirs"], &["theirs", "--provider=bad"]] {
            let (code, out, err) = poll(&dir, args);
            assert_eq!((code, &*out), (2, ""), "{broken}: {args:?}: {err}");
            assert!(err.contains(says) && !err.contains("left out"), "{broken}: {args:?}: {err}");
        }
    }
    // Errors of the provider itself, and of what is not a provider.
    let bad = "{ name: bad, preset: luma, authorization: { credentials_file: gone } }";
    for (file, text) in [
        ("good-token", ""),
        ("aitask.yml", "providers: []\nglobal: { poll_interval: 0s }\n"),
        ("aitask.yml", "providers: [\n"),
    ] {
        let dir = beside(&gateway, bad);
        dir.write(file, text);
        let (code, out, err) = poll(&dir, &["done-1", "--provider=good"]);
        assert_eq!((code, &*out), (2, ""), "{file}: {err}");
        assert!(!err.contains("left out"), "{file}: {err}");
    }
}
