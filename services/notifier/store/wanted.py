"""Which products an endpoint wants to hear of, in which slots: what fan-out, claim, catching up and replay agree on.

Fragments of SQL about `endpoints e`, `stock_products p` and `slots s`.
"""

# Its own filters; that its company is connected is another matter.
MATCHES = """
    (e.supplier_ids is null or p.supplier_id = any(e.supplier_ids))
    and (e.product_ids is null or p.product_id = any(e.product_ids))
"""
# The kinds of its slots: by its format, and in `variant_stock` by the events that it hears.
KINDS = """
    case e.format
        when 'stock_level' then array['stock_level']
        when 'variant_stock' then array_remove(array[
            case when e.event_types is null or e.event_types && array['variant_stock.updated', 'variant_stock.deleted']
                then 'variant_stock' end,
            case when e.event_types @> array['variant_stock_delta.updated'] then 'variant_stock_delta' end], null)
        else cast(array[] as text[])
    end
"""
# What a slot tells of its product as it is now; null where a location does not stock it. A delta counts that as 0.
QUANTITY = """
    case s.kind
        when 'stock_level' then p.available
        when 'variant_stock' then cast(p.levels ->> s.location as bigint)
        else coalesce(cast(p.levels ->> s.location as bigint), 0)
    end
"""
# Who hears of which products: whoever is connected, and wants to. Endpoints are locked, so that one that is removed
# just now is left out, and not missed when its slot is added.
HEARERS = f"""
    select e.endpoint_id, e.format, e.only, {KINDS} as kinds, p.product_id, p.available, p.levels, p.band,
        p.fanned_out_band, p.occurred_at, least(p.fanned_out_changes, p.changes - 1) as told_changes
    from stock_products p
    join connections c on c.supplier_id = p.supplier_id and c.state = 'active'
    join endpoints e on e.company_id = c.retailer_id
    where {MATCHES}
"""  # noqa: S608 - constants
# Of `hearers`; an endpoint that is told of crossings only has no slot before the first. In two halves, as the planner
# overrates those of variants by far. Most slots are there: to look costs a third of trying to add them (and `offset 0`
# has it look by their keys, not read them all).
ADD_SLOTS = """
    insert into slots (endpoint_id, product_id, location, kind, dirty, not_before, sent_changes, told_changes,
        told_band)
    select p.endpoint_id, p.product_id, '', 'stock_level', true, db_now(), p.told_changes, p.told_changes,
        p.fanned_out_band
    from hearers p
    where p.format = 'stock_level' and (p.only is null or p.band <> p.fanned_out_band) and not exists (
        select from slots s where s.endpoint_id = p.endpoint_id and s.product_id = p.product_id and s.location = ''
            and s.kind = 'stock_level' offset 0)
    union all
    select p.endpoint_id, p.product_id, location, kind, true, db_now(), p.told_changes, p.told_changes, null
    from hearers p cross join lateral jsonb_object_keys(p.levels) as location cross join lateral unnest(p.kinds) as kind
    where p.format = 'variant_stock'
    on conflict (endpoint_id, product_id, location, kind) do nothing
"""
# Of `hearers p` and their clean slots: the endpoint does not know what is now; or may not, as it did not acknowledge
# what was sent last, and did not ask for what came then; or a variant is gone that it did not ask for before. With
# `only`, bands are all it knows.
IS_NEWS = f"""
    case when p.only is null or s.kind <> 'stock_level'
            then s.acked_version < s.sent_version or s.told_available is distinct from ({QUANTITY})
                or (s.told_band is not null and ({QUANTITY}) is null)
        else coalesce(s.told_band, p.fanned_out_band) <> p.band end
"""
