//! The `sip` probe: an OPTIONS request (RFC 3261); the answer must be a final response to it with an accepted status code.

use super::{Ask, Judgement, Protocol, printable};
use crate::core::model::{SipProbe, StatusRange};

/// What the branch of every transaction begins with (section 8.1.1.7).
const COOKIE: &str = "z9hG4bK";

/// A `sip` probe.
#[derive(Debug)]
pub struct Sip {
    status: Vec<StatusRange>,
}

impl Sip {
    /// Compiles the probe.
    pub fn new(probe: &SipProbe) -> Sip {
        Sip { status: probe.status.clone() }
    }

    fn read(&self, ask: &Ask, message: &str, body: usize) -> Judgement {
        let wrong = |what: &str| Judgement::Wrong(what.to_owned());
        let (first, headers) = message.split_once("\r\n").unwrap_or((message, ""));
        let Some((code, reason)) = status(first) else {
            return Judgement::Wrong(format!("not a SIP response: \"{}\"", printable(first)));
        };
        let Some(headers) = Headers::read(headers) else {
            return wrong("a SIP response with malformed headers");
        };
        let (Some(via), Some(call_id), Some(cseq)) =
            (headers.get("via", "v"), headers.get("call-id", "i"), headers.get("cseq", ""))
        else {
            return wrong("a SIP response without Via, Call-ID or CSeq");
        };
        if branch(via) != Some(format!("{COOKIE}{:032x}", ask.nonce).as_str())
            || call_id != format!("{:032x}", ask.nonce)
            || !cseq.split_ascii_whitespace().eq(["1", "OPTIONS"])
        {
            return Judgement::NotOurs;
        }
        match headers.get("content-length", "l").map(str::parse::<usize>) {
            None => {}
            Some(Ok(length)) if length <= body => {}
            Some(_) => return wrong("a SIP response that is cut off"),
        }
        match code {
            // Provisional: the final one is to come.
            100..=199 => Judgement::NotOurs,
            _ if self.status.iter().any(|range| range.contains(code)) => Judgement::Right,
            _ => Judgement::Wrong(format!("{code} {}", printable(reason))),
        }
    }
}

/// The code and reason of a status line (section 7.2).
fn status(line: &str) -> Option<(u16, &str)> {
    let (code, reason) = line.strip_prefix("SIP/2.0 ")?.split_once(' ')?;
    let code = code.parse().ok().filter(|status| code.len() == 3 && (100..700).contains(status))?;
    Some((code, reason))
}

/// The branch of the topmost of these Via values.
fn branch(via: &str) -> Option<&str> {
    let top = via.split(',').next()?;
    let mut parameters = top.split(';').skip(1).filter_map(|parameter| parameter.split_once('='));
    let (_, value) = parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case("branch"))?;
    Some(value.trim())
}

/// The headers of a message: names in lower case, values in one line.
struct Headers(Vec<(String, String)>);

impl Headers {
    /// Reads the lines up to the empty one; a line that begins with a blank goes on with the one before (section 7.3.1).
    fn read(text: &str) -> Option<Headers> {
        let mut headers: Vec<(String, String)> = Vec::new();
        for line in text.split_terminator("\r\n") {
            if line.starts_with([' ', '\t']) {
                let (_, value) = headers.last_mut()?;
                value.push(' ');
                value.push_str(line.trim());
                continue;
            }
            let (name, value) = line.split_once(':')?;
            headers.push((name.trim_end().to_ascii_lowercase(), value.trim().to_owned()));
        }
        Some(Headers(headers))
    }

    /// The first value of a header, by its name or its compact form.
    fn get(&self, name: &str, compact: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(found, _)| found == name || found == compact)?;
        Some(value.trim())
    }
}

impl Protocol for Sip {
    fn request(&self, ask: &Ask, datagram: &mut Vec<u8>) {
        let Ask { nonce, local, server } = ask;
        // `rport` (RFC 3581): the answer comes to the port that the request came from.
        let request = format!(
            "OPTIONS sip:{server} SIP/2.0\r\n\
             Via: SIP/2.0/UDP {local};branch={COOKIE}{nonce:032x};rport\r\n\
             Max-Forwards: 70\r\n\
             From: <sip:ipvsd@{local}>;tag={:016x}\r\n\
             To: <sip:{server}>\r\n\
             Call-ID: {nonce:032x}\r\n\
             CSeq: 1 OPTIONS\r\n\
             Contact: <sip:ipvsd@{local}>\r\n\
             Accept: application/sdp\r\n\
             User-Agent: ipvsd\r\n\
             Content-Length: 0\r\n\r\n",
            *nonce as u64
        );
        datagram.extend_from_slice(request.as_bytes());
    }

    fn judge(&self, ask: &Ask, answer: &[u8]) -> Judgement {
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n");
        let Some(end) = end else {
            return Judgement::Wrong(format!("{} bytes are no SIP message", answer.len()));
        };
        self.read(ask, &String::from_utf8_lossy(&answer[..end]), answer.len() - end - 4)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{ask, damaged};
    use super::*;

    const NONCE: u128 = 0x1234_5678_9abc_def0_0fed_cba9_8765_4321;

    fn sip() -> Sip {
        Sip { status: vec![StatusRange { first: 200, last: 200 }] }
    }

    /// As kamailio 5.6 answers.
    fn right() -> String {
        "SIP/2.0 200 Keepalive\r\n\
         Via: SIP/2.0/UDP 192.0.2.1:40000;branch=z9hG4bK123456789abcdef00fedcba987654321;rport=40000;received=192.0.2.1\r\n\
         From: <sip:ipvsd@192.0.2.1:40000>;tag=0fedcba987654321\r\n\
         To: <sip:10.0.1.11:53>;tag=5bb5ea2ef2ef4c18dc6ef27bd67e8a3c.3e1b0000\r\n\
         Call-ID: 123456789abcdef00fedcba987654321\r\n\
         CSeq: 1 OPTIONS\r\n\
         Server: kamailio (5.6.3 (x86_64/linux))\r\n\
         Content-Length: 0\r\n\r\n"
            .to_owned()
    }

    fn judge(from: &str, to: &str) -> Judgement {
        let answer = right();
        assert!(answer.contains(from), "{from}");
        sip().judge(&ask(NONCE), answer.replace(from, to).as_bytes())
    }

    fn wrong(what: &str) -> Judgement {
        Judgement::Wrong(what.to_owned())
    }

    #[test]
    fn the_request_has_all_that_a_request_must_have() {
        let mut request = Vec::new();
        sip().request(&ask(NONCE), &mut request);
        let request = String::from_utf8(request).expect("text");
        assert!(request.starts_with("OPTIONS sip:10.0.1.11:53 SIP/2.0\r\n") && request.ends_with("\r\n\r\n"));
        for header in [
            "Via: SIP/2.0/UDP 192.0.2.1:40000;branch=z9hG4bK123456789abcdef00fedcba987654321;rport\r\n",
            "Max-Forwards: 70\r\n",
            "From: <sip:ipvsd@192.0.2.1:40000>;tag=0fedcba987654321\r\n",
            "To: <sip:10.0.1.11:53>\r\n",
            "Call-ID: 123456789abcdef00fedcba987654321\r\n",
            "CSeq: 1 OPTIONS\r\n",
        ] {
            assert!(request.contains(header), "{header} in {request}");
        }
    }

    #[test]
    fn each_deviation_is_named() {
        assert_eq!(judge("Server", "X-Server"), Judgement::Right);
        assert_eq!(judge("branch=z9hG4bK1", "branch=z9hG4bK2"), Judgement::NotOurs);
        assert_eq!(judge("Call-ID: 1", "Call-ID: 2"), Judgement::NotOurs);
        assert_eq!(judge("1 OPTIONS", "2 OPTIONS"), Judgement::NotOurs);
        assert_eq!(judge("1 OPTIONS", "1 INVITE"), Judgement::NotOurs);
        assert_eq!(judge("200 Keepalive", "100 Trying"), Judgement::NotOurs);
        assert_eq!(judge("200 Keepalive", "503 Server\u{7}Full"), wrong("503 Server\\u{7}Full"));
        assert_eq!(judge("200 Keepalive", "2000 OK"), wrong("not a SIP response: \"SIP/2.0 2000 OK\""));
        assert_eq!(
            judge("SIP/2.0 200", "HTTP/1.1 200"),
            wrong("not a SIP response: \"HTTP/1.1 200 Keepalive\"")
        );
        assert_eq!(judge("CSeq:", "C-Seq:"), wrong("a SIP response without Via, Call-ID or CSeq"));
        assert_eq!(judge("Server:", "Server"), wrong("a SIP response with malformed headers"));
        assert_eq!(judge("Length: 0", "Length: 5"), wrong("a SIP response that is cut off"));
        assert_eq!(judge("\r\n\r\n", "\r\n"), wrong("381 bytes are no SIP message"));
    }

    #[test]
    fn headers_may_be_short_folded_and_in_any_case() {
        assert_eq!(judge("Via:", "v :"), Judgement::Right);
        assert_eq!(judge("Call-ID: ", "i:\r\n\t"), Judgement::Right);
        assert_eq!(judge("CSeq: 1 OPTIONS", "CSEQ:   1\r\n OPTIONS"), Judgement::Right);
        assert_eq!(judge(";branch=", ";Branch = "), Judgement::Right);
    }

    #[test]
    fn other_codes_may_be_accepted() {
        let range = |first, last| StatusRange { first, last };
        let sip = Sip { status: vec![range(200, 299), range(404, 404)] };
        let judge = |code: &str| sip.judge(&ask(NONCE), right().replace("200 ", code).as_bytes());
        assert_eq!(judge("299 "), Judgement::Right);
        assert_eq!(judge("404 "), Judgement::Right);
        assert_eq!(judge("403 "), wrong("403 Keepalive"));
    }

    proptest! {
        #[test]
        fn damage_is_survived_and_never_passes_where_it_matters(answer in damaged(right().into_bytes())) {
            let judgement = sip().judge(&ask(NONCE), &answer);
            let matters = ["SIP/2.0 200 ", "z9hG4bK123456789abcdef00fedcba987654321", "123456789abcdef00fedcba987654321\r\nC"];
            let text = String::from_utf8_lossy(&answer);
            if !matters.iter().all(|text_| text.contains(text_)) {
                prop_assert_ne!(judgement, Judgement::Right);
            }
        }
    }
}
