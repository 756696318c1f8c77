import { type Resource, tables } from '@flotilla/metadata'
import { parseDuration, parseTime } from './go-time.ts'

/** A reference that holds only while the age of the snapshot's `usedat` label is on this side of a bound. */
export interface Condition {
  readonly snapshot: Resource
  readonly is: '<' | '>'
  /** Milliseconds. */
  readonly age: number
}

/** What the labels of one object say to the collector. */
export interface LabelReferences {
  readonly refs: Resource[]
  /** What the labelled object wants to be kept with. */
  readonly backRefs: Resource[]
  readonly conditions: Condition[]
  /** Whether there is a `gc.root` label. */
  root: boolean
  /** The `usedat` label: milliseconds since the epoch. */
  usedAt: number | undefined
}

const prefix = 'containerd.io/gc.'
const expireLabel = `${prefix}expire`
const flatLabel = `${prefix}flat`

type Labels = Readonly<Record<string, string>>

/** When a lease or image expires, in milliseconds since the epoch; undefined for never, also when it is unreadable. */
export function expiryOf(labels: Labels): number | undefined {
  const text = Object.hasOwn(labels, expireLabel) ? labels[expireLabel] : undefined
  return text === undefined ? undefined : parseTime(text)
}

/** Whether a lease keeps what it holds, but not what that refers to. */
export const isFlat = (labels: Labels): boolean => Object.hasOwn(labels, flatLabel)

export function referencesOf(labels: Labels): LabelReferences {
  const found: LabelReferences = { refs: [], backRefs: [], conditions: [], root: false, usedAt: undefined }
  for (const key in labels) {
    if (!key.startsWith(prefix)) continue
    const value = labels[key] ?? ''
    const rest = key.slice(prefix.length)
    if (rest.startsWith('root')) {
      found.root ||= value !== ''
    } else if (rest.startsWith('ref.')) {
      const target = targetOf(rest.slice('ref.'.length), value)
      if (target && target.type !== tables.containers) found.refs.push(target)
    } else if (rest.startsWith('bref.')) {
      const target = targetOf(rest.slice('bref.'.length), value)
      if (target) found.backRefs.push(target)
    } else if (rest.startsWith('cond.snapshot')) {
      found.conditions.push(...conditionsOf(rest.slice('cond.snapshot'.length), value))
    } else if (rest.startsWith('cond.value-usedat')) {
      found.usedAt = parseTime(value) ?? found.usedAt
    }
  }
  return found
}

const simpleTargets = [
  ['content', tables.content],
  ['image', tables.images],
  ['container', tables.containers],
] as const

/** What `KIND[.X|/X] = VALUE` or `snapshot.SNAPSHOTTER[/X] = VALUE` refers to. */
function targetOf(kind: string, id: string): Resource | undefined {
  if (kind.startsWith('snapshot.')) return { type: `snapshots/${upToSlash(kind.slice('snapshot.'.length))}`, id }
  for (const [name, type] of simpleTargets) {
    if (!kind.startsWith(name)) continue
    const next = kind[name.length]
    // `content2` is no reference to content.
    if (next === undefined || next === '.' || next === '/') return { type, id }
  }
  return undefined
}

/** Reads `CONDITION[,CONDITION…]|KEY`; any condition is enough, and those of unknown kinds count for nothing. */
function conditionsOf(suffix: string, value: string): Condition[] {
  const bar = value.indexOf('|')
  if (bar === -1) return []
  const snapshotter = upToSlash(suffix.replace(/^[./]+/, ''))
  const snapshot: Resource = { type: `snapshots/${snapshotter}`, id: value.slice(bar + 1) }
  return value
    .slice(0, bar)
    .split(',')
    .flatMap((text) => {
      const [, is, duration] = /^usedat([<>])(.*)$/.exec(text) ?? []
      const age = parseDuration(duration ?? '')
      return age === undefined ? [] : [{ snapshot, is: is as Condition['is'], age }]
    })
}

const upToSlash = (text: string) => {
  const slash = text.indexOf('/')
  return slash === -1 ? text : text.slice(0, slash)
}
