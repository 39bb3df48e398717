// A decoder of bzip2, whose blocks sort a text before they code it and so see what its samples share.
// Browsers bring only deflate, which looks back 32 KiB and leaves real reasoning half as large again.
//
//   stream:  "BZh", level, blocks, end mark, checksum of all blocks
//   block:   Huffman codes → moved-to-front symbols and runs of zeros → last column of the sorted
//            rotations → the text with runs of 4 to 259 equal bytes shortened → bytes

const BLOCK_MARK = 0x314159265359;
const END_MARK = 0x177245385090;
const SYMBOLS_A_GROUP = 50;
const LONGEST_CODE = 20;

/** All bytes of a bzip2 stream. Throws an Error for a damaged one. */
function bunzip2(bytes) {
  const bits = new BitReader(bytes);
  if (bits.read(24) !== 0x425a68) throw new Error("not a bzip2 stream");
  const most = (bits.read(8) - 0x30) * 100000;
  const parts = [];
  let checksum = 0;
  for (let mark = bits.mark(); mark !== END_MARK; mark = bits.mark()) {
    if (mark !== BLOCK_MARK) throw new Error("a damaged bzip2 block");
    const part = readBlock(bits, most);
    checksum = ((checksum << 1) | (checksum >>> 31)) ^ part.checksum;
    parts.push(part.bytes);
  }
  if (bits.read32() !== checksum >>> 0) throw new Error("a damaged bzip2 stream");
  return joined(parts);
}

class BitReader {
  constructor(bytes) {
    this.bytes = bytes;
    this.place = 0;
    this.held = 0;
    this.n = 0;
  }

  /** The next 1 to 24 bits as a number, the highest first. */
  read(count) {
    while (this.n < count) {
      if (this.place >= this.bytes.length) throw new Error("a bzip2 stream that ends early");
      this.held = (this.held << 8) | this.bytes[this.place++];
      this.n += 8;
    }
    this.n -= count;
    return (this.held >>> this.n) & ((1 << count) - 1);
  }

  read32() {
    return this.read(16) * 0x10000 + this.read(16);
  }

  mark() {
    return this.read(24) * 0x1000000 + this.read(24);
  }
}

function readBlock(bits, most) {
  const expected = bits.read32();
  if (bits.read(1)) throw new Error("a randomised bzip2 block, which no current encoder writes");
  const first = bits.read(24);
  const last = readLastColumn(bits, most);
  const bytes = longRuns(unsorted(last.bytes, last.counts, first));
  const checksum = crc32(bytes);
  if (checksum !== expected) throw new Error("a bzip2 block whose checksum is wrong");
  return { bytes, checksum };
}

// --- Huffman codes, move to front, runs of zeros ----------------------------------------------------

/** The bytes in the last column of the sorted rotations, and how often each byte is there. */
function readLastColumn(bits, most) {
  const front = readUsedBytes(bits);
  const end = front.length + 1;
  const symbols = new SymbolReader(bits, front.length + 2);
  const column = { bytes: new Uint8Array(most), counts: new Int32Array(256), place: 0 };
  for (let run = 0, weight = 1; ; ) {
    const symbol = symbols.next();
    if (symbol <= 1) {
      // Digits 1 and 2 of a number in base 2, the lowest first: how often the byte in front comes again.
      run += weight << symbol;
      weight <<= 1;
      if (run > most) throw new Error("a bzip2 block that is too long");
      continue;
    }
    append(column, front[0], run);
    if (symbol === end) return { bytes: column.bytes.subarray(0, column.place), counts: column.counts };
    const byte = front[symbol - 1];
    front.copyWithin(1, 0, symbol - 1);
    front[0] = byte;
    append(column, byte, 1);
    run = 0;
    weight = 1;
  }
}

function append(column, byte, times) {
  const until = column.place + times;
  if (until > column.bytes.length) throw new Error("a bzip2 block that is too long");
  if (times === 1) column.bytes[column.place] = byte;
  else column.bytes.fill(byte, column.place, until);
  column.counts[byte] += times;
  column.place = until;
}

/** Symbols of a block: each group of fifty is coded with the table that its selector names. */
class SymbolReader {
  constructor(bits, nSymbols) {
    const nTables = bits.read(3);
    this.bits = bits;
    this.selectors = readSelectors(bits, nTables);
    this.tables = Array.from({ length: nTables }, () => readTable(bits, nSymbols));
    this.group = 0;
    this.left = 0;
    this.table = null;
  }

  next() {
    if (this.left === 0) {
      if (this.group >= this.selectors.length) throw new Error("a bzip2 block with too few selectors");
      this.table = this.tables[this.selectors[this.group++]];
      this.left = SYMBOLS_A_GROUP;
    }
    this.left--;
    return readSymbol(this.bits, this.table);
  }
}

function readUsedBytes(bits) {
  const rows = bits.read(16);
  const used = [];
  for (let row = 0; row < 16; row++) {
    if (!(rows & (0x8000 >> row))) continue;
    const columns = bits.read(16);
    for (let column = 0; column < 16; column++) {
      if (columns & (0x8000 >> column)) used.push(16 * row + column);
    }
  }
  if (used.length === 0) throw new Error("a bzip2 block without bytes");
  return Uint8Array.from(used);
}

/** Which table each group of symbols is coded with. */
function readSelectors(bits, nTables) {
  const selectors = new Uint8Array(bits.read(15));
  const front = Array.from({ length: nTables }, (_, i) => i);
  for (let i = 0; i < selectors.length; i++) {
    let place = 0;
    while (bits.read(1)) {
      if (++place >= nTables) throw new Error("a bzip2 block with a selector of no table");
    }
    front.unshift(...front.splice(place, 1));
    selectors[i] = front[0];
  }
  return selectors;
}

/** A canonical Huffman code: by length the largest code, and what leads from a code to its symbol. */
function readTable(bits, nSymbols) {
  const lengths = new Uint8Array(nSymbols);
  let length = bits.read(5);
  for (let symbol = 0; symbol < nSymbols; symbol++) {
    while (bits.read(1)) length += bits.read(1) ? -1 : 1;
    if (length < 1 || length > LONGEST_CODE) throw new Error("a bzip2 code of no length");
    lengths[symbol] = length;
  }
  const symbols = Array.from(lengths.keys()).sort((a, b) => lengths[a] - lengths[b] || a - b);
  const limits = new Int32Array(LONGEST_CODE + 2).fill(-1);
  const offsets = new Int32Array(LONGEST_CODE + 2);
  let code = 0, place = 0;
  for (let bitsLong = 1; bitsLong <= LONGEST_CODE; bitsLong++) {
    offsets[bitsLong] = place - code;
    while (place < nSymbols && lengths[symbols[place]] === bitsLong) {
      place++;
      code++;
    }
    limits[bitsLong] = code - 1;
    code <<= 1;
  }
  return { symbols: Uint16Array.from(symbols), limits, offsets, shortest: lengths[symbols[0]] };
}

function readSymbol(bits, table) {
  let code = bits.read(table.shortest);
  for (let length = table.shortest; length <= LONGEST_CODE; length++) {
    if (code <= table.limits[length]) return table.symbols[code + table.offsets[length]];
    code = (code << 1) | bits.read(1);
  }
  throw new Error("a bzip2 code that is in no table");
}

// --- from the last column to the bytes --------------------------------------------------------------

/** The text whose sorted rotations have this last column; `first`: the row that holds the text itself. */
function unsorted(column, counts, first) {
  const n = column.length;
  if (first >= n && n > 0) throw new Error("a bzip2 block that begins nowhere");
  const starts = new Int32Array(256);
  for (let byte = 1; byte < 256; byte++) starts[byte] = starts[byte - 1] + counts[byte - 1];
  const follows = new Uint32Array(n);
  for (let row = 0; row < n; row++) follows[starts[column[row]]++] = row;
  const bytes = new Uint8Array(n);
  for (let i = 0, row = n ? follows[first] : 0; i < n; i++, row = follows[row]) bytes[i] = column[row];
  return bytes;
}

/** After four equal bytes comes the number of further ones. */
function longRuns(bytes) {
  const longer = new Uint8Array(lengthWithRuns(bytes));
  let to = 0, equal = 0, previous = -1;
  for (const byte of bytes) {
    if (equal === 4) {
      longer.fill(previous, to, to + byte);
      to += byte;
      equal = 0;
      previous = -1;
      continue;
    }
    equal = byte === previous ? equal + 1 : 1;
    previous = byte;
    longer[to++] = byte;
  }
  return longer;
}

function lengthWithRuns(bytes) {
  let length = 0, equal = 0, previous = -1;
  for (const byte of bytes) {
    if (equal === 4) {
      length += byte;
      equal = 0;
      previous = -1;
      continue;
    }
    equal = byte === previous ? equal + 1 : 1;
    previous = byte;
    length++;
  }
  return length;
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, i) => {
  let crc = i << 24;
  for (let bit = 0; bit < 8; bit++) crc = crc & 0x80000000 ? (crc << 1) ^ 0x04c11db7 : crc << 1;
  return crc;
});

function crc32(bytes) {
  let crc = -1;
  for (const byte of bytes) crc = (crc << 8) ^ CRC_TABLE[(crc >>> 24) ^ byte];
  return ~crc >>> 0;
}

function joined(parts) {
  if (parts.length === 1) return parts[0];
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let place = 0;
  for (const part of parts) {
    all.set(part, place);
    place += part.length;
  }
  return all;
}
