export { type Grant, grantUri, isVerb, nodeUri, parseGrant, type Verb, verbs } from './grant.ts'
export { type Identity, identityOf, mayUse, mayUseSomewhere } from './identity.ts'
