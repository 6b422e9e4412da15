"Archives as strangers make them, and downloads that break off"
import http.server, io, threading, zipfile
import numpy as np
import pytest
from tsai_relcon.files import PublishedFiles, fetch, fetch_dataset, sha256_of, sources

def zipped(path, **members):
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as z:
        for name,text in members.items(): z.writestr(name, text)
    return path

def test_folder_archive_and_archive_in_archive_read_alike(tmp_path):
    (tmp_path/'a/Protocol').mkdir(parents=True)
    (tmp_path/'a/Protocol/s1.dat').write_text('1 2')
    inner = zipped(tmp_path/'inner.zip', **{'Set/Protocol/s1.dat': '1 2'})
    outer = zipped(tmp_path/'outer.zip', **{'Set.zip': inner.read_bytes(), '__MACOSX/Set/Protocol/s1.dat': 'junk'})
    (tmp_path/'b').mkdir(); (tmp_path/'b/Set.zip').write_bytes(inner.read_bytes())
    for source in (tmp_path/'a', inner, outer, tmp_path/'b'):
        published = PublishedFiles(source)
        (name, m), = published.find(r'Protocol/s(\d)\.dat')
        assert m[1]=='1' and published.read(name)==b'1 2'
        assert published.find(r'xProtocol/s1\.dat')==[]

@pytest.mark.parametrize('member', ['../evil.csv', '/etc/evil.csv', 'a/../../evil.csv', 'C:/evil.csv', '..\\evil.csv'])
def test_a_member_outside_the_folder_is_refused(member, tmp_path):
    with pytest.raises(ValueError, match='outside'): PublishedFiles(zipped(tmp_path/'x.zip', **{'ok.csv': '1', member: '2'}))
    assert not (tmp_path.parent/'evil.csv').exists()

def test_truncated_and_damaged_archives(tmp_path):
    whole = zipped(tmp_path/'x.zip', **{'a.csv': np.random.default_rng(0).bytes(5000), 'b.csv': 'ok'}).read_bytes()
    (tmp_path/'cut.zip').write_bytes(whole[:3000])
    with pytest.raises(ValueError, match='not a whole zip'): PublishedFiles(tmp_path/'cut.zip')
    hurt = bytearray(whole); hurt[1000] ^= 255
    (tmp_path/'hurt.zip').write_bytes(hurt)
    with pytest.raises(ValueError, match='cannot be read at a.csv'): PublishedFiles(tmp_path/'hurt.zip').read('a.csv')
    with pytest.raises(ValueError, match='no folder and no file'): PublishedFiles(tmp_path/'nothing.zip')
    inner = zipped(tmp_path/'outer.zip', **{'Set.zip': whole[:3000]})
    with pytest.raises(ValueError, match='Set.zip'): PublishedFiles(inner).find('a.csv')

class Server(http.server.BaseHTTPRequestHandler):
    "Serves `body` under `tag`; sends `limit` bytes at most, then drops the connection; honours Range unless told not to"
    body, tag, limit, ranges, length, asked = b'', '"one"', None, True, True, []
    def do_GET(self):
        asks = self.headers.get('Range')
        self.asked.append(asks)
        start = int(asks[6:-1]) if asks and self.ranges and self.headers.get('If-Range')==self.tag else 0
        self.send_response(206 if start else 200)
        if self.tag: self.send_header('ETag', self.tag)
        if start: self.send_header('Content-Range', f'bytes {start}-{len(self.body)-1}/{len(self.body)}')
        if self.length: self.send_header('Content-Length', str(len(self.body)-start))
        self.end_headers()
        self.wfile.write(self.body[start:None if self.limit is None else start+self.limit])
    def log_message(self, *_): pass

@pytest.fixture
def server():
    class Handler(Server): body, asked = np.random.default_rng(0).bytes(3_000_000), []
    s = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    threading.Thread(target=s.serve_forever, daemon=True).start()
    s.url = f'http://127.0.0.1:{s.server_port}/some+set.zip'
    yield s
    s.shutdown(); s.server_close()

def test_a_download_goes_on_where_it_broke_off(server, tmp_path, capsys):
    handler = server.RequestHandlerClass
    handler.limit = 2_000_000
    with pytest.raises(OSError, match='broke off after 2000000 of 3000000'): fetch(server.url, tmp_path, progress=False)
    assert not (tmp_path/'some+set.zip').exists() and (tmp_path/'some+set.zip.part').stat().st_size==2_000_000
    handler.limit = None
    path = fetch(server.url, tmp_path, progress=False)
    assert path.read_bytes()==handler.body and handler.asked==[None, 'bytes=2000000-'] and not (tmp_path/'some+set.zip.part').exists()
    assert 'downloading http' in capsys.readouterr().out
    assert (tmp_path/'some+set.zip.sha256').read_text()==f'{sha256_of(path)}  some+set.zip\n'
    assert fetch(server.url, tmp_path, progress=False)==path and len(handler.asked)==2            # there already

def cut_off(server, folder, at=1_000_000):
    server.RequestHandlerClass.limit = at
    with pytest.raises(OSError, match='broke off'): fetch(server.url, folder, progress=False)
    server.RequestHandlerClass.limit = None

def test_a_server_without_ranges_or_without_a_tag_starts_anew(server, tmp_path):
    handler = server.RequestHandlerClass
    for name,setting in [('a', dict(ranges=False)), ('b', dict(tag=None))]:
        for k,v in setting.items(): setattr(handler, k, v)
        cut_off(server, tmp_path/name)
        assert fetch(server.url, tmp_path/name, progress=False).read_bytes()==handler.body
        handler.ranges, handler.tag = True, '"one"'

def test_a_file_that_changed_in_between_is_not_mixed(server, tmp_path):
    handler = server.RequestHandlerClass
    cut_off(server, tmp_path)
    handler.body, handler.tag = np.random.default_rng(1).bytes(2_000_000), '"two"'
    assert fetch(server.url, tmp_path, progress=False).read_bytes()==handler.body

def test_what_a_stranger_left_is_not_continued(server, tmp_path):
    (tmp_path/'some+set.zip.part').write_bytes(b'x'*5_000_000)
    assert fetch(server.url, tmp_path, progress=False).read_bytes()==server.RequestHandlerClass.body

def test_an_archive_of_unknown_size_must_be_whole(server, tmp_path):
    handler = server.RequestHandlerClass
    whole = zipped(tmp_path/'x.zip', **{'a': np.random.default_rng(0).bytes(100_000)}).read_bytes()
    handler.body, handler.length, handler.limit = whole, False, 50_000
    with pytest.raises(OSError, match='no whole zip'): fetch(server.url, tmp_path/'d', progress=False)
    handler.limit = None
    assert fetch(server.url, tmp_path/'d', progress=False).read_bytes()==whole

def test_all_there_but_not_yet_renamed(server, tmp_path):
    cut_off(server, tmp_path)
    (tmp_path/'some+set.zip.part').write_bytes(server.RequestHandlerClass.body)
    assert fetch(server.url, tmp_path, progress=False).read_bytes()==server.RequestHandlerClass.body and len(server.RequestHandlerClass.asked)==1

def test_checksums(server, tmp_path):
    with pytest.raises(ValueError, match='sha256'): fetch(server.url, tmp_path, sha256='0'*64, progress=False)
    assert list(tmp_path.iterdir())==[]                                                           # nothing wrong is left to be used
    for bad in ('abc', 5, 'g'*64):
        with pytest.raises(ValueError, match='64 hex digits'): fetch(server.url, tmp_path, sha256=bad, progress=False)
    path = fetch(server.url, tmp_path, progress=False)
    fetch(server.url, tmp_path, sha256=sha256_of(path).upper(), progress=False)                    # tools write either case
    path.write_bytes(b'changed')
    with pytest.raises(ValueError, match='remove the file'): fetch(server.url, tmp_path, progress=False)  # noticed by the note beside it
    assert path.read_bytes()==b'changed'

def test_addresses_that_do_not_answer(server, tmp_path):
    with pytest.raises(OSError): fetch('http://127.0.0.1:9/x.zip', tmp_path, progress=False)
    for url in ('file:///etc/hostname', 'ftp://x/y', 'nowhere', None, 'http://x/a b.zip'):
        with pytest.raises(ValueError, match='`url`'): fetch(url, tmp_path)
    for url,name in [(server.url, '../escaped.zip'), (server.url, '/tmp/x.zip'), (server.url, '..'), (server.url.replace('some+set.zip',''), None)]:
        with pytest.raises(ValueError, match='`name`'): fetch(url, tmp_path, name=name, progress=False)
    with pytest.raises(ValueError, match='known are'): fetch_dataset('uci_har', tmp_path)
    assert all(s['url'].startswith('https://') and s['licence'] for s in sources.values())
