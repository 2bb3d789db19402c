// HTML whose inserted texts are escaped unless they are HTML themselves.

class Markup {
  constructor(text) {
    this.text = text;
  }

  toString() {
    return this.text;
  }
}

const ENTITIES = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

const escaped = (text) => String(text ?? '').replace(/[&<>"']/g, (c) => ENTITIES[c]);

const inserted = (value) => {
  if (Array.isArray(value)) {
    return value.map(inserted).join('');
  }
  return value instanceof Markup ? value.text : escaped(value);
};

/** A tagged template: lists are joined, texts and attributes escaped. */
export const html = (parts, ...values) => new Markup(String.raw({ raw: parts }, ...values.map(inserted)));

/** `text` as it is: for the style sheet, whose text no browser unescapes. */
export const verbatim = (text) => new Markup(text);
