// Bytes as text inside a page: base 85 with RFC 1924's alphabet, a comma in the place of `<`.

const BASE85 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;,=>?@^_`{|}~";
const BASE85_VALUES = new Uint8Array(128);
for (let i = 0; i < BASE85.length; i++) BASE85_VALUES[BASE85.charCodeAt(i)] = i;

/** The bytes behind a text; its last group may have fewer than five characters. */
function fromBase85(text) {
  const missing = (5 - (text.length % 5)) % 5;
  const bytes = new Uint8Array(((text.length + missing) / 5) * 4);
  const padded = text + "~".repeat(missing);
  const view = new DataView(bytes.buffer);
  for (let from = 0, to = 0; from < padded.length; from += 5, to += 4) {
    let word = 0;
    for (let i = from; i < from + 5; i++) word = word * 85 + BASE85_VALUES[padded.charCodeAt(i)];
    view.setUint32(to, word);
  }
  return bytes.subarray(0, bytes.length - missing);
}
