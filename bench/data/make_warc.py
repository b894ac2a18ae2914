#!/usr/bin/env python3
"""A web archive to measure the data pipeline with, made of real pages and real texts.

usage: make_warc.py OUT.warc.gz MB PAGES TEXT.jsonl.gz...

PAGES is a folder of *.html.gz; each round takes every page once, with a share of its longer words (drawn between 0 and a
half, anew for each copy) replaced by words of the texts, so that copies are anything from near duplicates to texts of
their own. Every text is a page too, once a round, its paragraphs changed in the same way (Chinese: ideographs instead of
words). One record a gzip member, as Common Crawl writes them; MB counts uncompressed bytes. The same arguments give the
same archive.
"""
import glob, gzip, html, json, random, re, sys

out, limit, pages = sys.argv[1], float(sys.argv[2]) * 1e6, sys.argv[3]
rng = random.Random(1)
texts = [json.loads(line)["content"] for path in sys.argv[4:] for line in gzip.open(path, "rt")]
joined = "\n".join(texts)
words = re.findall(r"[A-Za-z]{5,}", joined)
ideographs = re.findall(r"[\u4e00-\u9fff]", joined)
PIECE = re.compile(r"<(?:script|style)\b.*?</(?:script|style)>|<[^>]*>|[A-Za-z]{5,}|[\u4e00-\u9fff]", re.S | re.I)


def changed(page, share):
    def put(m):
        piece = m.group()
        if piece[0] == "<" or rng.random() >= share:
            return piece
        return rng.choice(words) if piece[0] < "\x80" else rng.choice(ideographs)

    return PIECE.sub(put, page)


def page_of(text):
    paragraphs = "".join(f"<p>{html.escape(p)}</p>\n" for p in text.split("\n") if p.strip())
    title = html.escape(text[:40].split("\n")[0])
    return (f"<!DOCTYPE html><html><head><meta charset='utf-8'><title>{title}</title></head><body><nav><a href='/'>Home"
            f"</a> <a href='/all'>All</a></nav><article><h1>{title}</h1>\n{paragraphs}</article><footer>© all rights"
            " reserved</footer></body></html>")


def record(number, page):
    body = page.encode()
    http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    head = ("WARC/1.0\r\nWARC-Type: response\r\n"
            f"WARC-Target-URI: https://site{number % 997}.example/{number}\r\nWARC-Date: 2024-02-29T10:{number // 60 % 60:02}:"
            f"{number % 60:02}Z\r\nWARC-Record-ID: <urn:uuid:{number:032x}>\r\n"
            f"Content-Type: application/http; msgtype=response\r\nContent-Length: {len(http)}\r\n\r\n")
    return head.encode() + http + b"\r\n\r\n"


base = [gzip.open(path, "rt", errors="replace").read() for path in sorted(glob.glob(pages + "/*.html.gz"))]
base += [page_of(t) for t in texts if len(t) > 500]
size = number = 0
with open(out, "wb") as f:
    while size < limit:
        rng.shuffle(base)
        for page in base:
            r = record(number, changed(page, 0 if number < len(base) else rng.random() / 2))
            f.write(gzip.compress(r, 6))
            size, number = size + len(r), number + 1
            if size >= limit:
                break
print(f"{number} records, {size / 1e6:.1f} MB uncompressed, of {len(base)} pages")
