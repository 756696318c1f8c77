import { FilterFault, skipSpace, type Token, tokenAt } from './scanner.ts'
import { unquote } from './unquote.ts'

export type Operator = 'present' | '==' | '!=' | '~='

/** One condition on one field. `value` is empty for `present`. */
export interface Selector {
  readonly fieldpath: readonly string[]
  readonly operator: Operator
  readonly value: string
}

/**
 * Reads one filter:
 *
 *     filter    := selector ("," selector)*
 *     selector  := fieldpath [operator value]
 *     fieldpath := field ("." field)*
 *     field     := [A-Za-z0-9_]+ | quoted
 *     operator  := "==" | "!=" | "~="
 *     value     := bare | quoted | /slashes/ | |pipes|          the last two only after "~="
 *
 * White space may stand before a field and around an operator, but neither before a comma nor at the end.
 *
 * @throws FilterFault
 */
export function parseFilter(text: string): Selector[] {
  const selectors: Selector[] = []
  for (let at = 0; ; at++) {
    const [selector, end] = selectorAt(text, at)
    selectors.push(selector)
    if (end === text.length) return selectors
    if (text[end] !== ',') throw new FilterFault(end, 'expected a comma or the end')
    at = end
  }
}

function selectorAt(text: string, from: number): [Selector, number] {
  const [fieldpath, end] = fieldpathAt(text, from)
  if (end === text.length || text[end] === ',') return [{ fieldpath, operator: 'present', value: '' }, end]
  const operator = tokenAt(text, end, false)
  if (operator.kind !== 'operator') throw at(operator, 'expected an operator (==, != or ~=)')
  if (operator.text !== '==' && operator.text !== '!=' && operator.text !== '~=')
    throw at(operator, `unsupported operator "${operator.text}"`)
  const opening = skipSpace(text, operator.end)
  if (operator.text !== '~=' && (text[opening] === '/' || text[opening] === '|'))
    throw new FilterFault(opening, 'invalid quote encountered')
  const value = tokenAt(text, opening, true)
  if (value.kind !== 'value' && value.kind !== 'quoted') throw at(value, 'expected a value or a quoted string')
  return [{ fieldpath, operator: operator.text, value: meaning(value) }, value.end]
}

function fieldpathAt(text: string, from: number): [string[], number] {
  const fields: string[] = []
  for (let index = from; ; ) {
    const field = tokenAt(text, index, false)
    if (field.kind !== 'field' && field.kind !== 'quoted') throw at(field, 'expected a field or a quoted string')
    if (field.kind === 'quoted' && field.text[0] !== '"') throw at(field, 'invalid quote encountered')
    fields.push(meaning(field))
    if (text[field.end] !== '.') return [fields, field.end]
    index = field.end + 1
  }
}

function meaning(token: Token): string {
  if (token.kind !== 'quoted') return token.text
  const text = unquote(token.text)
  if (text === undefined) throw at(token, 'the quoted string holds an invalid escape')
  return text
}

const at = (token: Token, reason: string) => new FilterFault(token.start, reason)
