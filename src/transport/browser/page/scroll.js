(() => {
  const isBox = element => {
    const style = getComputedStyle(element);
    return ['auto', 'scroll', 'overlay'].includes(style.overflowY) && element.clientHeight > 0;
  };
  const parentOf = element => element.assignedSlot || element.parentElement || element.getRootNode().host;
  // The style of the root, or of the body if the root has none, applies to the viewport.
  const isViewport = element => {
    const { documentElement: root, body, scrollingElement: view } = element.ownerDocument;
    return element === root || element === view ||
      element === body && getComputedStyle(root).overflowY === 'visible';
  };
  const viewportOf = ({ documentElement: root, body, scrollingElement: view }) => {
    const own = getComputedStyle(root).overflowY;
    const style = own === 'visible' && body ? getComputedStyle(body).overflowY : own;
    return ['hidden', 'clip'].includes(style) ? null : view || root;
  };
  const measure = box => [box.scrollTop, box.scrollHeight, box.clientHeight];
  // The boxes that a wheel over this point scrolls, the innermost first.
  const boxesAt = (x, y) => {
    const frames = [], boxes = [], start = [x, y];
    let root = document, element = null;
    for (;;) {
      element = root.elementFromPoint(x, y);
      if (element && element.shadowRoot && element.shadowRoot !== root) {
        const inner = element.shadowRoot.elementFromPoint(x, y);
        if (inner && inner !== element) { root = element.shadowRoot; continue; }
      }
      let inner = null;
      try { inner = element && element.contentDocument; } catch { }
      if (!inner || !inner.documentElement || !('contentWindow' in element)) break;
      const at = element.getBoundingClientRect();
      x -= at.left + element.clientLeft;
      y -= at.top + element.clientTop;
      frames.push(element);
      root = inner;
    }
    let own = (element || document.documentElement).ownerDocument;
    walk: while (own) {
      for (; element; element = parentOf(element)) {
        if (isViewport(element) || !isBox(element)) continue;
        boxes.push(element);
        const isEnd = element.scrollHeight <= element.clientHeight + 1;
        if (!isEnd && getComputedStyle(element).overscrollBehaviorY !== 'auto') break walk;
      }
      const view = viewportOf(own);
      if (view) boxes.push(view);
      element = frames.pop();
      own = element && element.ownerDocument;
    }
    return { x: start[0], y: start[1], boxes: boxes.map(measure) };
  };
  const scrolls = ({ boxes }) => boxes.some(([, height, client]) => height > client + 2);
  const middle = boxesAt(Math.floor(innerWidth / 2), Math.floor(innerHeight / 2));
  if (scrolls(middle)) return middle;
  // Nothing scrolls there: take the largest box that does.
  let best = null, most = innerWidth * innerHeight / 20, count = 0;
  for (const element of document.querySelectorAll('*')) {
    if (++count > 20000) break;
    if (element.scrollHeight <= element.clientHeight + 2 || isViewport(element) || !isBox(element)) continue;
    const at = element.getBoundingClientRect();
    const [left, right] = [Math.max(at.left, 0), Math.min(at.right, innerWidth)];
    const [top, bottom] = [Math.max(at.top, 0), Math.min(at.bottom, innerHeight)];
    const size = Math.max(right - left, 0) * Math.max(bottom - top, 0);
    if (size > most) [best, most] = [boxesAt(Math.floor((left + right) / 2), Math.floor((top + bottom) / 2)), size];
  }
  return best && scrolls(best) ? best : middle;
})()
