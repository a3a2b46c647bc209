//! What `kcopy broker` says of peers that speak another language.

use kcopy_tests::{program, run};

#[test]
fn a_peer_that_sends_no_requests_is_told_of_with_the_reason() {
    for (options, is_told) in [(&[][..], true), (&["-q"], false)] {
        let mut command = program("kcopy");
        // The command speaks HTTP, as far as it comes.
        let script = "exec 3<>/dev/tcp/${KCOPY_BROKERS%:*}/${KCOPY_BROKERS#*:}; printf 'GET / HTTP/1.1\\r\\n\\r\\n' >&3; cat <&3";
        command.arg("broker").args(options).args(["--", "bash", "-c", script]);
        let output = run(&mut command).expect_success();
        let text = "the peer sends text that begins with \"GET \", not a frame";
        assert_eq!(output.stderr.contains(text), is_told, "{output:?}");
    }
}
