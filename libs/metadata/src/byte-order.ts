/**
 * Order of the UTF-8 bytes of two texts, which is Go's order of strings. That of UTF-16 units, which `<` gives, differs
 * from it only where one has a surrogate.
 */
export function byBytes(a: string, b: string): number {
  const length = Math.min(a.length, b.length)
  for (let at = 0; at < length; at++) {
    const [left, right] = [a.charCodeAt(at), b.charCodeAt(at)]
    if (left !== right) return place(left) - place(right)
  }
  return a.length - b.length
}

/** Surrogates stand for characters beyond all that one unit can hold. */
const place = (unit: number) => (unit >= 0xd800 && unit < 0xe000 ? unit + 0x10000 : unit)
