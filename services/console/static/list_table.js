// A table of rows. Cells stay in the page when rows change, so that what has the focus keeps it, and menus their place.
export default {
  template: `
    <div class="table-box">
      <table class="list-table">
        <thead><tr>
          <component :is="column.label ? 'th' : 'td'" v-for="column in columns" :key="column.name"
            :scope="column.label ? 'col' : undefined" :class="classOf(column)" :aria-sort="sortOf(column)">
            <button v-if="column.sortable" type="button" class="sorter" @click="$emit('sort', column.name)">
              {{ column.label }}<span aria-hidden="true">{{ arrowOf(column) }}</span>
            </button>
            <template v-else>{{ column.label }}</template>
          </component>
        </tr></thead>
        <tbody><tr v-for="row in rows" :key="row[rowKey]">
          <td v-for="column in columns" :key="column.name" :class="[classOf(column), (row.changed || {})[column.name]]">
            <button v-if="column.kind === 'edit'" type="button" class="cell-edit" :data-column="column.name"
              :id="'edit-' + row[rowKey] + '-' + column.name" :aria-label="'Change ' + column.label + ': ' + row[column.name]"
              @click="$emit('edit', { key: row[rowKey], column: column.name })">
              <span :class="row[column.name + '_tone']">{{ row[column.name] }}</span>
            </button>
            <input v-else-if="column.kind === 'choice'" type="checkbox" :checked="row[column.name]"
              :aria-label="'Choose ' + row[column.name + '_of']"
              @change="$emit('choose', { key: row[rowKey], chosen: $event.target.checked })">
            <a v-else-if="column.kind === 'link' && row[column.name + '_address']" :href="row[column.name + '_address']">{{ row[column.name] }}</a>
            <span v-else-if="column.kind === 'badge'" v-show="row[column.name]" :class="['badge', row[column.name + '_tone']]">{{ row[column.name] }}</span>
            <span v-else-if="column.kind === 'actions'" class="actions">
              <q-btn v-for="[name, label] in row[column.name]" :key="name" flat dense no-caps color="primary" :label="label"
                :aria-label="label + ' ' + (row[column.name + '_of'] || '')" @click="$emit('act', { row, action: name })" />
            </span>
            <span v-else :class="row[column.name + '_tone']" :title="titleOf(column, row)">{{ row[column.name] }}</span>
          </td>
        </tr></tbody>
      </table>
    </div>`,
  props: { columns: Array, rows: Array, rowKey: String, sortedBy: String, descending: Boolean },
  emits: ["sort", "edit", "act", "choose"],
  methods: {
    classOf(column) {
      return `is-${column.kind}`;
    },
    titleOf(column, row) {
      return row[`${column.name}_title`] ?? (["text", "link"].includes(column.kind) ? row[column.name] : undefined);
    },
    sortOf(column) {
      if (!column.sortable) return undefined;
      if (column.name !== this.sortedBy) return "none";
      return this.descending ? "descending" : "ascending";
    },
    arrowOf(column) {
      if (column.name !== this.sortedBy) return "";
      return this.descending ? " \u2193" : " \u2191";
    },
  },
};
