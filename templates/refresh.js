const KEY = 'aitask_exporter.refresh';
const MAX_WAIT_MS = 30000;
const toggle = document.querySelector('#refresh input');
const note = document.getElementById('refresh-note');
const interval = 1000 * toggle.dataset.seconds;
let isLoading = false;

// A browser may forbid the storage; then each page begins with the switch on.
const stored = () => {
  try { return localStorage.getItem(KEY); } catch { return null; }
};
const store = (value) => {
  try { localStorage.setItem(KEY, value); } catch { /* See above. */ }
};

// The identity of a row is the task or provider that it is about, that of another element its ID.
const identity = (node) => {
  if (node.nodeType !== Node.ELEMENT_NODE) return '';
  if (node.localName !== 'tr') return node.id;
  const link = node.querySelector('a[href^="/tasks/"]') ?? node.querySelector('a[href]');
  return link?.getAttribute('href') ?? '';
};
const kind = (node) => `${node.nodeName} ${identity(node)}`;

// What a person fills in, or has set, is left alone.
const isKept = (node) => ['form', 'script', 'style'].includes(node.localName) || node.id === 'refresh';
const isKeptAttribute = (node, name) =>
  (node.localName === 'details' && name === 'open') || node.classList.contains('wide');

const updateAttributes = (old, fresh) => {
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && !isKeptAttribute(old, name)) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value && !isKeptAttribute(old, name)) old.setAttribute(name, value);
  }
};

// Makes `old` like `fresh`, and keeps every element that both have: its focus and scroll position.
const update = (old, fresh) => {
  if (isKept(old)) return;
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
    return;
  }
  updateAttributes(old, fresh);
  const known = new Map();
  for (const child of old.childNodes) {
    known.set(kind(child), [...(known.get(kind(child)) ?? []), child]);
  }
  const pairs = [...fresh.childNodes].map((child) => [known.get(kind(child))?.shift(), child]);
  [...known.values()].flat().forEach((gone) => gone.remove());
  let next = old.firstChild;
  for (const [match, child] of pairs) {
    if (!match) {
      old.insertBefore(document.importNode(child, true), next);
      continue;
    }
    if (match === next) next = next.nextSibling;
    else old.insertBefore(match, next);
    update(match, child);
  }
};

const show = (fresh) => {
  const focused = document.activeElement;
  const target = focused?.getAttribute('href');
  document.title = fresh.title;
  update(document.body, fresh.body);
  markScrollable();
  if (document.activeElement === focused && focused.getAttribute('href') === target) return;
  const again = [...document.links].find((link) => link.getAttribute('href') === target);
  const place = again ?? (focused.isConnected ? focused : document.getElementById('content'));
  place.focus({ preventScroll: true });
};

// A box that scrolls sideways can be reached by keyboard, and has a name.
const markScrollable = () => {
  for (const box of document.querySelectorAll('.wide')) {
    if (box.scrollWidth <= box.clientWidth) {
      if (box !== document.activeElement) box.removeAttribute('tabindex');
      continue;
    }
    box.tabIndex = 0;
    box.setAttribute('role', 'region');
    box.setAttribute('aria-label', box.querySelector('caption')?.textContent ?? 'Table');
  }
};

const say = (text, isBad) => {
  if (note.textContent !== text) note.textContent = text;
  note.classList.toggle('bad', isBad);
};

const load = async () => {
  const signal = AbortSignal.timeout(MAX_WAIT_MS);
  const response = await fetch(location.href, { cache: 'no-store', signal });
  const isPage = response.headers.get('content-type')?.startsWith('text/html');
  if (!isPage) throw new Error(`HTTP status ${response.status}`);
  return new DOMParser().parseFromString(await response.text(), 'text/html');
};

const refresh = async () => {
  if (isLoading || !toggle.checked || document.hidden) return;
  if (!getSelection().isCollapsed) return say('Waiting while text is selected.', false);
  isLoading = true;
  let fresh;
  try {
    fresh = await load();
  } catch (error) {
    const reason = error.message.startsWith('HTTP') ? error.message : 'the exporter does not answer';
    return say(`Not refreshed: ${reason}.`, true);
  } finally {
    isLoading = false;
  }
  // The person may have selected text, or turned the switch, in the meantime.
  if (toggle.checked && getSelection().isCollapsed) {
    show(fresh);
    say('', false);
  }
};

toggle.checked = stored() !== 'off';
toggle.closest('label').hidden = false;
toggle.addEventListener('change', () => {
  store(toggle.checked ? 'on' : 'off');
  say('', false);
  refresh();
});
document.addEventListener('visibilitychange', refresh);
addEventListener('resize', markScrollable);
setInterval(refresh, interval);
markScrollable();
