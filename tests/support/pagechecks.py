"""What a script in a page can say of it: what is too wide, cannot be read, or has no name for who cannot see it."""

from contextlib import suppress

from playwright.async_api import Page
from playwright.async_api import TimeoutError as TooLateError

_TOO_WIDE = """() => [...document.querySelectorAll("body *")]
  .filter((one) => one.getBoundingClientRect().right > innerWidth)
  .filter((one) => !one.closest(".scroll, .segmented, .nav, .visually-hidden"))
  .map((one) => `${one.nodeName}.${one.className}: ${one.getBoundingClientRect().right}`)"""
"""Elements that reach beyond the window, but for those that scroll by themselves."""


async def too_wide(page: Page) -> list[str]:
    """What is too wide, once charts have had their time to follow the window's width."""
    with suppress(TooLateError):
        await page.wait_for_function(f"() => ({_TOO_WIDE})().length === 0")
    found: list[str] = await page.evaluate(_TOO_WIDE)
    return found


CONTRASTS = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const parts = (text) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = text;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const linear = (one) => one / 255 <= 0.03928 ? one / 255 / 12.92 : ((one / 255 + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const behind = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const found = parts(getComputedStyle(at).backgroundColor);
      if (found[3] === 255) return found;
    }
    return [255, 255, 255, 255];
  };
  const poor = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.nodeValue.trim();
    const node = walker.currentNode.parentElement;
    const seen = node.checkVisibility({ opacityProperty: true, visibilityProperty: true });
    if (!text || !seen || node.closest(".visually-hidden, script, svg, :disabled")) continue;
    const style = getComputedStyle(node);
    const size = parseFloat(style.fontSize);
    const [a, b] = [light(parts(style.color)), light(behind(node))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < (size >= 24 || (size >= 18.6 && style.fontWeight >= 700) ? 3 : 4.5)) poor.push(`${text}: ${ratio}`);
  }
  return poor;
}"""
"""Texts with less contrast than WCAG's AA wants: 4.5:1 with what is behind them, 3:1 where they are large."""

NAMELESS = """() => {
  const labels = (one) => [
    one.getAttribute("aria-label"),
    ...(one.getAttribute("aria-labelledby") ?? "").split(" ").map((id) => document.getElementById(id)?.textContent),
    ...[...(one.labels ?? [])].map((label) => label.textContent),
  ];
  const shown = (one) => [one.textContent, one.title, ...[...one.querySelectorAll("img")].map((image) => image.alt)];
  const named = (texts) => texts.some((text) => text?.trim());
  const all = (selector) => [...document.querySelectorAll(selector)];
  const fields = all("input:not([type=hidden]), select, textarea, progress, nav, dialog[open]");
  const regions = all("[role=img], [role=region], [role=group]");
  const shows = all("a[href], button, th:not(:has(input)), summary");
  return [
    ...[...fields, ...regions].filter((one) => !named(labels(one))),
    ...shows.filter((one) => !named([...labels(one), ...shown(one)])),
    ...all("img:not([alt])"),
  ].map((one) => one.outerHTML.slice(0, 200));
}"""
"""Fields, links, buttons, pictures and regions that a screen reader could only call by their kind."""

OUTLINE = """() => ({
  headings: document.querySelectorAll("h1").length,
  mains: document.querySelectorAll("main").length,
  language: document.documentElement.lang,
  twice: [...document.querySelectorAll("[id]")].map((one) => one.id).filter((id, at, all) => all.indexOf(id) !== at),
})"""
"""How a page is built: one h1, one main, a language, and no id twice."""
