import type { ImageReference, ImageStore } from '@flotilla/api/containerd/types/transfer/transfer'
import type { Descriptor } from '@flotilla/oci'

export const annotations = {
  /** The whole name of an image. */
  name: 'io.containerd.image.name',
  /** What distinguishes it among those of its repository: a tag. */
  reference: 'org.opencontainers.image.ref.name',
} as const

/** The names that a store gives an image that was asked for by name. */
export function namesOf(store: ImageStore, target: Descriptor): string[] {
  const whole = store.extraReferences.filter((reference) => !reference.isPrefix)
  const names = whole.map(({ name, addDigest }) => (addDigest ? `${name}@${target.digest}` : name))
  return store.name === '' ? names : [store.name, ...names]
}

/** The names that a store gives an image of an archive, by the image's annotations. */
export function namesByAnnotation(store: ImageStore, target: Descriptor): string[] {
  const names: string[] = []
  for (const reference of store.extraReferences) {
    if (!reference.isPrefix) continue
    const name = annotatedName(target.annotations ?? {}, reference)
    if (name !== '') names.push(name)
    if (reference.addDigest && (name === '' || !reference.skipNamedDigest))
      names.push(`${reference.name}@${target.digest}`)
  }
  return names
}

function annotatedName(found: Readonly<Record<string, string>>, reference: ImageReference): string {
  const whole = found[annotations.name] ?? ''
  // A whole name counts as it is, or not at all.
  if (whole !== '') return withPrefix(whole, reference) === whole ? whole : ''
  const part = found[annotations.reference] ?? ''
  return part === '' ? '' : withPrefix(part, reference)
}

/** A tag below the prefix; a whole name as it is, when others than those below the prefix may be taken or it is one. */
function withPrefix(text: string, { name: prefix, allowOverwrite }: ImageReference): string {
  if (prefix === '') return ''
  if (!/[/:@]/.test(text)) return `${prefix}:${text}`
  return allowOverwrite || isBelow(text, prefix) ? text : ''
}

/** Whether a prefix ends where a part of the name does; the last part of a repository's path may stand for all of it. */
function isBelow(name: string, prefix: string): boolean {
  const last = name.slice(name.lastIndexOf('/') + 1)
  return (
    (name.startsWith(prefix) && ['', '/', ':', '@'].includes(name.charAt(prefix.length))) ||
    (last.startsWith(prefix) && ['', ':', '@'].includes(last.charAt(prefix.length)))
  )
}

/** What follows the repository in a name: its tag, `tag@digest` or `@digest`; the name itself when nothing does. */
export function objectOf(name: string): string {
  const path = name.slice(name.indexOf('/') + 1)
  const at = path.search(/[:@]/)
  if (name.indexOf('/') < 1 || at < 0) return name
  return path[at] === ':' ? path.slice(at + 1) : path.slice(at)
}

/** The name by which Docker knows an image of its own hub. */
export function familiarName(name: string): string {
  return name.replace(/^docker\.io\/(library\/(?=[^/]+$))?/, '')
}

/** The whole name of what Docker calls so. */
export function wholeName(familiar: string): string {
  const slash = familiar.indexOf('/')
  const first = slash < 0 ? '' : familiar.slice(0, slash)
  const hasHost = /[.:]/.test(first) || first === 'localhost'
  const path = hasHost ? familiar : `docker.io/${slash < 0 ? 'library/' : ''}${familiar}`
  const object = path.slice(path.indexOf('/') + 1)
  return /[:@]/.test(object) ? path : `${path}:latest`
}
