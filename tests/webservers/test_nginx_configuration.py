import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webservers import Content, Credentials, ServerConfig, WebServerError
from webservers.nginx import configuration, quoted, read_version

Configure = Callable[..., ServerConfig]

DEBIAN = """nginx version: nginx/1.22.1
built with OpenSSL 3.0.22 25 Aug 2026 (running with OpenSSL 3.0.19 27 Jan 2026)
TLS SNI support enabled
configure arguments: --with-http_ssl_module --with-http_v2_module
"""


def test_the_version_names_the_library_that_runs() -> None:
    assert read_version(DEBIAN) == ((1, 22, 1), "nginx 1.22.1, OpenSSL 3.0.19")


def test_a_library_that_only_was_built_with() -> None:
    text = DEBIAN.replace(" (running with OpenSSL 3.0.19 27 Jan 2026)", "")
    assert read_version(text)[1] == "nginx 1.22.1, OpenSSL 3.0.22"


def test_an_nginx_without_tls_is_of_no_use() -> None:
    with pytest.raises(WebServerError, match="not one that can serve HTTPS"):
        read_version(DEBIAN.replace("http_ssl_module", "http_v3_module"))


@given(st.text())
def test_any_other_text_is_refused_in_one_way(text: str) -> None:
    with pytest.raises(WebServerError):
        read_version(text)


def test_protocols_are_a_range(configure: Configure) -> None:
    def protocols(**changes: str) -> str:
        text = configuration(configure(**changes), 1, as_root=False)
        return next(line.strip() for line in text.splitlines() if "ssl_protocols" in line)

    assert protocols() == "ssl_protocols TLSv1.3;"
    assert protocols(tls_min="TLSv1.2") == "ssl_protocols TLSv1.2 TLSv1.3;"
    assert protocols(tls_min="TLSv1.2", tls_max="TLSv1.2") == "ssl_protocols TLSv1.2;"


def test_only_root_needs_a_user(configure: Configure) -> None:
    assert "user root;" in configuration(configure(), 1, as_root=True)
    assert "user " not in configuration(configure(), 1, as_root=False)


def test_an_ipv6_address_is_bracketed(configure: Configure) -> None:
    assert "listen [::1]:443 ssl" in configuration(configure(address="::1"), 443, as_root=False)


def unquoted(token: str) -> str:
    """What nginx's reader makes of a quoted token (ngx_conf_read_token)."""
    inner, out, index = token[1:-1], "", 0
    while index < len(inner):
        if inner[index] == "\\" and inner[index + 1] in '"\\':
            index += 1
        out += inner[index]
        index += 1
    return out


@given(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1).filter(
        lambda name: name not in {".", ".."}
    )
)
def test_a_path_is_read_back_or_refused(name: str) -> None:
    path = Path("/base") / name
    try:
        token = quoted(path)
    except WebServerError:
        assert "$" in name or not name.isprintable()
    else:
        assert unquoted(token) == str(path)


@pytest.mark.system
def test_nginx_itself_accepts_a_strange_path(
    nginx: str, configure: Configure, credentials: Credentials, tmp_path: Path
) -> None:
    strange = tmp_path / "a \"strange\" \\n {name}; # of a 'root'"
    Content.write(strange, 10)
    file = tmp_path / "nginx.conf"
    file.write_text(configuration(configure(document_root=strange), 0, as_root=False).replace(":0 ssl", ":8 ssl"))
    done = subprocess.run(
        [nginx, "-t", "-p", str(tmp_path), "-c", str(file), "-e", "stderr"], capture_output=True, text=True, check=False
    )
    assert "syntax is ok" in done.stderr
