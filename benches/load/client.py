"""Python clients, each used as its documentation shows: asynchronous, one session, AT_ONCE concurrent requests.
Usage: client.py aiohttp|httpx|curl_cffi|scrapy URL COUNT AT_ONCE"""

import asyncio
import sys

NAME, URL, COUNT, AT_ONCE = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])


def check(status, body):
    if status != 200 or not body:
        raise SystemExit(f"{NAME}: {status}, {len(body)} bytes")


async def many(get):
    """Runs one worker per concurrent request, so that no task is created per URL."""
    left = iter(range(COUNT))

    async def work():
        for _ in left:
            check(*await get())

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))


async def with_aiohttp():
    import aiohttp

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=AT_ONCE, ssl=False)) as session:
        async def get():
            async with session.get(URL) as answer:
                return answer.status, await answer.read()

        await many(get)


async def with_httpx():
    import httpx

    limits = httpx.Limits(max_connections=AT_ONCE, max_keepalive_connections=AT_ONCE)
    async with httpx.AsyncClient(verify=False, limits=limits, http2=True, timeout=60) as session:
        async def get():
            answer = await session.get(URL)
            return answer.status_code, answer.content

        await many(get)


async def with_curl_cffi():
    from curl_cffi.requests import AsyncSession

    async with AsyncSession(verify=False, max_clients=AT_ONCE, impersonate="chrome", timeout=60) as session:
        async def get():
            answer = await session.get(URL)
            return answer.status_code, answer.content

        await many(get)


def with_scrapy():
    import scrapy
    from scrapy.crawler import CrawlerProcess

    class Spider(scrapy.Spider):
        name = "load"
        seen = 0

        async def start(self):
            for n in range(COUNT):
                yield scrapy.Request(URL, dont_filter=True, meta={"download_slot": "one"})

        def parse(self, response):
            check(response.status, response.body)
            Spider.seen += 1

    process = CrawlerProcess({"LOG_LEVEL": "ERROR", "CONCURRENT_REQUESTS": AT_ONCE, "CONCURRENT_REQUESTS_PER_DOMAIN": AT_ONCE,
                              "ROBOTSTXT_OBEY": False, "DOWNLOAD_DELAY": 0, "TELNETCONSOLE_ENABLED": False})
    process.crawl(Spider)
    process.start()
    if Spider.seen != COUNT:
        raise SystemExit(f"scrapy: {Spider.seen} of {COUNT}")


if NAME == "scrapy":
    with_scrapy()
else:
    asyncio.run({"aiohttp": with_aiohttp, "httpx": with_httpx, "curl_cffi": with_curl_cffi}[NAME]())
