interface Adopter {
  readonly namespace: string
  readonly ref: string
}

/**
 * Ingests of this node that wait to adopt a blob, by its digest. Their records are in the metadata store; this is the
 * index that a sweep looks into, rather than through the ingests of all namespaces. It may name adopters that the
 * garbage collector has removed meanwhile, so a sweep asks after each that it finds.
 */
export class Adoptions {
  readonly #byDigest = new Map<string, Map<string, Adopter>>()

  add(digest: string, namespace: string, ref: string): void {
    const adopters = this.#byDigest.get(digest) ?? new Map<string, Adopter>()
    adopters.set(`${namespace}/${ref}`, { namespace, ref })
    this.#byDigest.set(digest, adopters)
  }

  remove(digest: string, namespace: string, ref: string): void {
    const adopters = this.#byDigest.get(digest)
    adopters?.delete(`${namespace}/${ref}`)
    if (adopters?.size === 0) this.#byDigest.delete(digest)
  }

  of(digest: string): readonly Adopter[] {
    return [...(this.#byDigest.get(digest)?.values() ?? [])]
  }
}
