// RFC 7541, appendix B. The code is canonical: codes of one length are in the order of their symbols, and shorter ones
// come first, so the lengths say all.

/** Bits of the code of each byte, then of the end of the string. */
// biome-ignore format: as the table of the RFC, sixteen in a row
const lengths = [
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
  28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
  6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
  5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
  13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
  7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
  15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
  6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
  20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
  24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
  22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
  21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
  26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
  19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
  20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
  26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
  30,
]
const endOfString = 256

/** Two entries for each inner node of the tree: what follows on 0 and on 1; a leaf is -1 - its symbol. */
const tree = plant()

function plant(): Int16Array {
  const nodes = new Int16Array(2 * lengths.length)
  const bySymbol = lengths.map((length, symbol) => ({ length, symbol }))
  let [used, code, before] = [1, 0, 0]
  for (const { length, symbol } of bySymbol.sort((a, b) => a.length - b.length || a.symbol - b.symbol)) {
    code <<= length - before
    before = length
    let node = 0
    for (let bit = length - 1; bit > 0; bit--) {
      const at = 2 * node + ((code >> bit) & 1)
      if (nodes[at] === 0) nodes[at] = used++
      node = nodes[at] ?? 0
    }
    nodes[2 * node + (code & 1)] = -1 - symbol
    code++
  }
  return nodes
}

/** Decodes a string. Throws when it is not one that an encoder makes. */
export function huffmanDecoded(bytes: Buffer): string {
  // No code is shorter than five bits.
  const text = Buffer.allocUnsafe(Math.ceil((bytes.length * 8) / 5))
  let [length, node, depth, ones] = [0, 0, 0, true]
  for (const byte of bytes) {
    for (let bit = 7; bit >= 0; bit--) {
      const one = (byte >> bit) & 1
      const next = tree[2 * node + one] ?? 0
      depth++
      ones &&= one === 1
      if (next >= 0) {
        node = next
        continue
      }
      if (next === -1 - endOfString) throw new Error('the end of a string within it')
      text[length++] = -1 - next
      node = 0
      depth = 0
      ones = true
    }
  }
  // What fills the last byte begins the code of the end, which is all ones.
  if (depth > 7 || !ones) throw new Error('a string that is not filled with ones')
  return text.toString('latin1', 0, length)
}
