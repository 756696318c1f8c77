/** A piece of a filter. `end` is the index after its last character, `text` the piece as it stands there. */
export interface Token {
  readonly kind: 'field' | 'quoted' | 'value' | 'operator' | 'comma' | 'dot' | 'end'
  readonly start: number
  readonly end: number
  readonly text: string
}

/** What cannot be read, and where. The parser turns it into the client's message. */
export class FilterFault extends Error {
  /** Index of the character at fault; the length of the filter when it ends too early. */
  readonly at: number

  constructor(at: number, reason: string) {
    super(reason)
    this.name = 'FilterFault'
    this.at = at
  }
}

const space = /\p{White_Space}/u
const fieldCharacter = /[A-Za-z0-9_]/
// Go's "graphic": letters, marks, numbers, punctuation, symbols and (excluded here, since it is white space) Zs.
const valueCharacter = /[\p{L}\p{M}\p{N}\p{P}\p{S}]/u
const operatorCharacters = '=!~'
const delimiters = '"/|'

/** The whole character at an index, be it of two code units; '' at the end. */
export const characterAt = (text: string, at: number): string => {
  const point = text.codePointAt(at)
  return point === undefined ? '' : String.fromCodePoint(point)
}

/** The first character at or after `at` that is not white space. */
export function skipSpace(text: string, at: number): number {
  let index = at
  while (index < text.length && space.test(characterAt(text, index))) index += characterAt(text, index).length
  return index
}

function run(text: string, start: number, belongs: (character: string) => boolean): number {
  let end = start
  for (let next = characterAt(text, end); next !== '' && belongs(next); next = characterAt(text, end))
    end += next.length
  return end
}

function quotedEnd(text: string, start: number): number {
  const delimiter = text[start]
  for (let at = start + 1; at < text.length; at++) {
    const character = text[at]
    if (character === '\n') throw new FilterFault(start, 'a quoted string cannot hold a newline')
    if (character === '\\') at++
    else if (character === delimiter) return at + 1
  }
  throw new FilterFault(start, 'the quoted string is not closed')
}

/**
 * Reads the token at or after `from`, white space before it skipped. What a bare word may hold depends on its place:
 * `asValue` reads a value (all graphic characters but the comma), otherwise a field name. Quotes, separators and
 * operators mean the same in both places when they come first.
 */
export function tokenAt(text: string, from: number, asValue: boolean): Token {
  const start = skipSpace(text, from)
  const first = characterAt(text, start)
  const token = (kind: Token['kind'], end: number): Token => ({ kind, start, end, text: text.slice(start, end) })
  if (first === '') return token('end', start)
  if (delimiters.includes(first)) return token('quoted', quotedEnd(text, start))
  if (first === ',') return token('comma', start + 1)
  if (first === '.') return token('dot', start + 1)
  if (operatorCharacters.includes(first))
    return token(
      'operator',
      run(text, start, (character) => operatorCharacters.includes(character)),
    )
  const belongs = asValue
    ? (character: string) => character !== ',' && valueCharacter.test(character)
    : (character: string) => fieldCharacter.test(character)
  const end = run(text, start, belongs)
  if (end === start) throw new FilterFault(start, `unexpected character "${first}"`)
  return token(asValue ? 'value' : 'field', end)
}
