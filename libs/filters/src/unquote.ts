const simple: Readonly<Record<string, number>> = { a: 7, b: 8, f: 12, n: 10, r: 13, t: 9, v: 11, '\\': 92 }
const digitsOf: Readonly<Record<string, number>> = { x: 2, u: 4, U: 8 }

/** The bytes that a hexadecimal escape stands for: `\x` gives one byte, `\u` and `\U` a character in UTF-8. */
function hexadecimal(letter: string, digits: string): Buffer | undefined {
  if (digits.length !== digitsOf[letter] || !/^[0-9a-fA-F]+$/.test(digits)) return undefined
  const number = Number.parseInt(digits, 16)
  if (letter === 'x') return Buffer.from([number])
  // Half a surrogate pair becomes U+FFFD here, as it does in Go's encoder.
  return number > 0x10ffff ? undefined : Buffer.from(String.fromCodePoint(number))
}

/**
 * What a quoted string means, its delimiters included in `text`, by the rules of Go's string literals: only its own
 * delimiter may be escaped. Undefined when an escape is none of Go's.
 */
export function unquote(text: string): string | undefined {
  const delimiter = text[0]
  const inner = text.slice(1, -1)
  if (!inner.includes('\\')) return inner
  // Bytes rather than characters: `\xc3\xa9` is one character.
  const parts: Buffer[] = []
  let at = 0
  while (at < inner.length) {
    const backslash = inner.indexOf('\\', at)
    if (backslash === -1) {
      parts.push(Buffer.from(inner.slice(at)))
      break
    }
    parts.push(Buffer.from(inner.slice(at, backslash)))
    const letter = inner[backslash + 1]
    if (letter === undefined) return undefined
    const octal = /^[0-7]{3}/.exec(inner.slice(backslash + 1, backslash + 4))?.[0]
    const width = digitsOf[letter]
    const byte = letter === delimiter ? letter.charCodeAt(0) : simple[letter]
    if (byte !== undefined) {
      parts.push(Buffer.from([byte]))
      at = backslash + 2
    } else if (octal !== undefined) {
      const value = Number.parseInt(octal, 8)
      if (value > 255) return undefined
      parts.push(Buffer.from([value]))
      at = backslash + 4
    } else if (width !== undefined) {
      const bytes = hexadecimal(letter, inner.slice(backslash + 2, backslash + 2 + width))
      if (bytes === undefined) return undefined
      parts.push(bytes)
      at = backslash + 2 + width
    } else {
      return undefined
    }
  }
  return Buffer.concat(parts).toString('utf8')
}
