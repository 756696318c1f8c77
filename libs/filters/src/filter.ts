import { invalidArgument } from '@flotilla/rpc'
import { RE2JS } from 're2js'
import { parseFilter, type Selector } from './parser.ts'
import { characterAt, FilterFault } from './scanner.ts'

/** A field of an object as filters see it. What is absent has the value ''. */
export interface FieldValue {
  readonly value: string
  readonly present: boolean
}

/** Looks a field up in one object: `['labels', 'containerd', 'io/gc', 'root']` is label `containerd.io/gc.root`. */
export type Adaptor = (fieldpath: readonly string[]) => FieldValue

export interface Matcher {
  /** Whether any of the filters selects the object. */
  matches(adaptor: Adaptor): boolean
  /** True when no object can fail to match, so that a caller need not look at fields at all. */
  readonly matchesAll: boolean
}

type Condition = (adaptor: Adaptor) => boolean

/**
 * Reads the `filters` of a request. An object matches when any filter matches; no filter, or an empty one, matches
 * everything.
 *
 * @throws INVALID_ARGUMENT `filters: parse error: [BEFORE >|CHARACTER|< AFTER]: REASON`
 */
export function parseFilters(filters: readonly string[]): Matcher {
  const alternatives = filters.filter((filter) => filter !== '').map(conditionsOf)
  if (alternatives.length < filters.length || filters.length === 0) return { matches: () => true, matchesAll: true }
  return {
    matches: (adaptor) => alternatives.some((conditions) => conditions.every((holds) => holds(adaptor))),
    matchesAll: false,
  }
}

function conditionsOf(filter: string): Condition[] {
  try {
    return parseFilter(filter).map(conditionOf)
  } catch (error) {
    if (!(error instanceof FilterFault)) throw error
    throw invalidArgument(`filters: parse error: [${place(filter, error.at)}]: ${error.message}`, { cause: error })
  }
}

/** The filter with the character at fault set apart; the bare filter when its end is the fault. */
function place(filter: string, at: number): string {
  const fault = characterAt(filter, at)
  return fault === '' ? filter : `${filter.slice(0, at)} >|${fault}|< ${filter.slice(at + fault.length)}`
}

function conditionOf({ fieldpath, operator, value }: Selector): Condition {
  switch (operator) {
    case 'present':
      return (adaptor) => adaptor(fieldpath).present
    case '==':
      return (adaptor) => {
        const field = adaptor(fieldpath)
        return field.present && field.value === value
      }
    case '!=':
      return (adaptor) => adaptor(fieldpath).value !== value
    case '~=': {
      const pattern = compiled(value)
      // An unreadable pattern is no error in containerd, it just matches nothing.
      if (pattern === undefined) return () => false
      return (adaptor) => pattern.matcher(adaptor(fieldpath).value).find()
    }
  }
}

function compiled(pattern: string): RE2JS | undefined {
  try {
    return RE2JS.compile(pattern)
  } catch {
    return undefined
  }
}
